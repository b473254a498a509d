package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/nats-io/nats.go"
)

// Codes of a row's result.
const (
	published int8 = iota
	duplicate
	failed  // it is certain that it was not stored
	unknown // it may have been stored
)

const (
	queuedBatches = 3
	retryAfter    = 100 * time.Millisecond
	sayEvery      = 200 * time.Millisecond
	burst         = 128 // rows sent between two looks at the answers
)

// publishRequest says how to publish.
type publishRequest struct {
	Window      int     `json:"window"`       // rows on their way at most
	WindowBytes int     `json:"window_bytes"` // and their bytes
	AckTimeout  float64 `json:"ack_timeout_s"`
	Patience    float64 `json:"patience_s"` // how long a server may be away
	Safe        bool    `json:"safe"`       // every row has a message id: it may be sent again
}

// batch is what came in one record batch, and what became of its rows.
type batch struct {
	record  arrow.Record
	subject *array.Binary
	payload *array.Binary
	headers *array.Binary // or nil
	at      *array.Int64  // or nil: nanoseconds after the start
	next    int           // the first row that was not sent
	left    int           // rows without a result
	seqs    []int64
	codes   []int8
	reasons map[int]string
}

// slot is a row on its way.
type slot struct {
	index  uint64
	batch  *batch // nil once it has a result
	row    int
	bytes  int
	sent   time.Time
	resend bool // it waits to be sent again
	tries  int
}

type publisher struct {
	publishRequest
	link    *link
	say     *events
	writer  *ipc.Writer
	schema  *arrow.Schema
	inbox   string
	acks    chan *nats.Msg
	ring    []slot
	first   uint64 // the oldest row without a result
	next    uint64 // the index of the next row
	bytes   int    // on their way
	again   []uint64
	againAt time.Time
	queue   []*batch
	denied  map[string]string
	begun   time.Time
	moved   time.Time
	since   time.Time // of this connection
	breaks  int
	settled int64
	said    int64
}

func publish(where server, line []byte, stdin io.Reader, stdout io.Writer, say *events) error {
	var request publishRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return failure{"usage", err.Error()}
	}
	link, err := where.connect("platform-kit-frames-publish")
	if err != nil {
		return err
	}
	defer link.Close()
	incoming, err := ipc.NewReader(stdin, ipc.WithAllocator(memory.NewGoAllocator()))
	if err != nil {
		return failure{"usage", "stdin holds no Arrow stream: " + err.Error()}
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "sequence", Type: arrow.PrimitiveTypes.Int64},
		{Name: "code", Type: arrow.PrimitiveTypes.Int8},
		{Name: "reason", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	size := 1
	for size < request.Window {
		size *= 2
	}
	p := &publisher{
		publishRequest: request, link: link, say: say, schema: schema,
		writer: ipc.NewWriter(stdout, ipc.WithSchema(schema)),
		inbox:  link.NewRespInbox() + ".",
		acks:   make(chan *nats.Msg, 4*size),
		ring:   make([]slot, size), denied: map[string]string{},
		begun: time.Now(), moved: time.Now(), since: time.Now(),
	}
	sub, err := link.ChanSubscribe(p.inbox+"*", p.acks)
	if err != nil {
		return err
	}
	sub.SetPendingLimits(-1, -1)
	batches := make(chan *batch, 1)
	broken := make(chan error, 1)
	go func() { broken <- feed(incoming, batches) }()
	if err := p.run(batches, broken); err != nil {
		return err
	}
	return p.writer.Close()
}

// feed reads batches until the stream ends.
func feed(incoming *ipc.Reader, batches chan<- *batch) error {
	defer close(batches)
	for incoming.Next() {
		record := incoming.Record()
		record.Retain()
		rows := int(record.NumRows())
		b := &batch{record: record, left: rows, seqs: make([]int64, rows), codes: make([]int8, rows)}
		for i, field := range record.Schema().Fields() {
			switch column := record.Column(i).(type) {
			case *array.Binary:
				switch field.Name {
				case "subject":
					b.subject = column
				case "payload":
					b.payload = column
				case "headers":
					b.headers = column
				}
			case *array.Int64:
				b.at = column
			}
		}
		if b.subject == nil || b.payload == nil {
			return failure{"usage", "a batch has no subject or payload"}
		}
		batches <- b
	}
	if err := incoming.Err(); err != nil && !errors.Is(err, io.EOF) {
		return failure{"usage", "stdin broke off: " + err.Error()}
	}
	return nil
}

func (p *publisher) run(batches <-chan *batch, broken <-chan error) error {
	wake := time.NewTicker(tick / 5)
	defer wake.Stop()
	connected := true
	said := time.Now()
	for {
		var more <-chan *batch
		if len(p.queue) < queuedBatches {
			more = batches
		}
		if batches == nil && len(p.queue) == 0 {
			return nil
		}
		sending := connected && p.sendSome()
		if sending {
			// There is more to send: only look at what has come.
			select {
			case message := <-p.acks:
				p.takeAll(message)
			case b, open := <-more:
				batches = p.enqueue(b, open, batches)
			case <-p.link.lost:
				connected = p.lose()
			case text := <-p.link.denied:
				p.deny(text)
			default:
			}
		} else {
			select {
			case message := <-p.acks:
				p.takeAll(message)
			case b, open := <-more:
				batches = p.enqueue(b, open, batches)
			case <-wake.C:
			case <-p.link.lost:
				connected = p.lose()
			case <-p.link.back:
				connected = p.resume()
			case text := <-p.link.denied:
				p.deny(text)
			}
		}
		if batches == nil && broken != nil {
			if err := <-broken; err != nil {
				return err
			}
			broken = nil
		}
		if err := p.write(); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(said) > sayEvery {
			said = now
			p.overdue(now, connected)
			if p.settled != p.said {
				p.said = p.settled
				p.say.count("settled", p.settled)
			} else if p.at() {
				p.say.count("settled", p.settled) // it waits for a moment of its own; that is a sign of life
				p.moved = now
			}
			if p.first != p.next && p.Patience > 0 && now.Sub(p.moved).Seconds() > p.Patience {
				p.giveUp()
			}
			if !connected && p.first == p.next && p.Patience > 0 && now.Sub(p.moved).Seconds() > p.Patience {
				return failure{"stalled", fmt.Sprintf("the server was away for %.0f s", p.Patience)}
			}
		}
	}
}

func (p *publisher) enqueue(b *batch, open bool, batches <-chan *batch) <-chan *batch {
	if !open {
		return nil
	}
	p.moved = time.Now()
	p.queue = append(p.queue, b)
	return batches
}

// current is the first batch with rows that were not sent.
func (p *publisher) current() *batch {
	for _, b := range p.queue {
		if b.next < len(b.codes) {
			return b
		}
	}
	return nil
}

// at tells whether the next row waits for its moment.
func (p *publisher) at() bool {
	b := p.current()
	return b != nil && b.at != nil && time.Duration(b.at.Value(b.next)) > time.Since(p.begun)
}

// sendSome sends what the window has room for; true if there is more to send at once.
func (p *publisher) sendSome() bool {
	now := time.Now()
	if len(p.again) > 0 && now.After(p.againAt) {
		p.sendAgain(now)
	}
	b := p.current()
	for n := 0; n < burst; n++ {
		if b != nil && b.next == len(b.codes) {
			b = p.current()
		}
		if b == nil || p.next-p.first >= uint64(p.Window) || p.bytes >= p.WindowBytes {
			return false
		}
		if b.at != nil && time.Duration(b.at.Value(b.next)) > now.Sub(p.begun) {
			return false
		}
		row := b.next
		b.next++
		s := &p.ring[p.next%uint64(len(p.ring))]
		*s = slot{index: p.next, batch: b, row: row, sent: now, bytes: len(b.payload.Value(row)) + 64}
		p.next++
		p.bytes += s.bytes
		p.send(s)
	}
	return true
}

func (p *publisher) send(s *slot) {
	subject := string(s.batch.subject.Value(s.row))
	if len(p.denied) > 0 {
		if text, found := p.denied[subject]; found {
			p.settle(s, 0, failed, text)
			return
		}
	}
	message := nats.Msg{
		Subject: subject,
		Reply:   p.inbox + strconv.FormatUint(s.index, 36),
		Data:    s.batch.payload.Value(s.row),
	}
	if h := s.batch.headers; h != nil && h.IsValid(s.row) {
		message.Header = parseHeader(string(h.Value(s.row)))
	}
	s.tries++
	switch err := p.link.PublishMsg(&message); {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload):
		p.settle(s, 0, failed, fmt.Sprintf("%d bytes with its headers, and the server takes %d",
			len(message.Data)+headerBytes(message.Header), p.link.MaxPayload()))
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		s.tries-- // it was not sent; when the connection is back it will be
		p.later(s)
	default:
		if p.link.IsConnected() {
			p.settle(s, 0, failed, err.Error())
			return
		}
		p.later(s)
	}
}

func headerBytes(header nats.Header) int {
	if len(header) == 0 {
		return 0
	}
	return len(headerLines(header)) + len("NATS/1.0\r\n\r\n")
}

// later notes that a row is to be sent again.
func (p *publisher) later(s *slot) {
	if s.resend {
		return
	}
	s.resend = true
	if len(p.again) == 0 {
		p.againAt = time.Now().Add(retryAfter)
	}
	p.again = append(p.again, s.index)
}

func (p *publisher) sendAgain(now time.Time) {
	again := p.again
	p.again = nil
	slices.Sort(again)
	for _, index := range again {
		s := &p.ring[index%uint64(len(p.ring))]
		if s.index != index || s.batch == nil || !s.resend {
			continue
		}
		s.resend, s.sent = false, now
		p.send(s)
	}
}

func (p *publisher) takeAll(message *nats.Msg) {
	for {
		p.take(message)
		select {
		case message = <-p.acks:
		default:
			return
		}
	}
}

// take is an answer: stored, stored before, or refused.
func (p *publisher) take(message *nats.Msg) {
	index, err := strconv.ParseUint(message.Subject[len(p.inbox):], 36, 64)
	if err != nil {
		return
	}
	s := &p.ring[index%uint64(len(p.ring))]
	if s.index != index || s.batch == nil {
		return // the second answer to a row that was sent twice
	}
	if len(message.Data) == 0 && message.Header.Get("Status") == "503" {
		// Nothing stores this subject; a server that has just come back may only not have its streams yet.
		if p.breaks > 0 && time.Since(p.since) < apiTimeout {
			p.later(s)
			return
		}
		p.settle(s, 0, failed, "no stream takes this subject")
		return
	}
	sequence, twice, refused := parseAck(message.Data)
	switch {
	case refused == nil && twice:
		p.settle(s, sequence, duplicate, "")
	case refused == nil:
		p.settle(s, sequence, published, "")
	case passing(refused) && time.Since(p.moved).Seconds() < max(p.Patience, 1):
		p.later(s)
	default:
		p.settle(s, 0, failed, refused.Description)
	}
}

// passing tells whether the server will take the message a moment later: it has too much to do, or just started.
func passing(err *apiError) bool {
	return err.Code == 429 || err.ErrCode == 10008 || err.ErrCode == 10009 || err.ErrCode == 10039 || err.ErrCode == 10076
}

func (p *publisher) settle(s *slot, sequence int64, code int8, reason string) {
	b := s.batch
	b.seqs[s.row], b.codes[s.row] = sequence, code
	if reason != "" {
		if b.reasons == nil {
			b.reasons = map[int]string{}
		}
		b.reasons[s.row] = reason
	}
	b.left--
	p.bytes -= s.bytes
	p.settled++
	if code != unknown {
		p.moved = time.Now()
	}
	s.batch = nil
	for p.first < p.next && p.ring[p.first%uint64(len(p.ring))].batch == nil {
		p.first++
	}
}

// underway calls f for each row on its way, in order.
func (p *publisher) underway(f func(*slot)) {
	for index, end := p.first, p.next; index < end; index++ {
		if s := &p.ring[index%uint64(len(p.ring))]; s.index == index && s.batch != nil {
			f(s)
		}
	}
}

func (p *publisher) lose() bool {
	p.breaks++
	p.say.count("lost", int64(p.breaks))
	return p.link.IsConnected() && p.resume()
}

// resume decides about the rows that were on their way when the connection broke.
func (p *publisher) resume() bool {
	p.since = time.Now()
	p.underway(func(s *slot) {
		switch {
		case s.resend: // not sent, or refused for the moment
		case p.Safe:
			p.later(s)
		default:
			p.settle(s, 0, unknown, "the connection broke before it was acknowledged: it may be stored, or not")
		}
	})
	return true
}

// overdue gives rows up that have no answer: somebody listens to the subject, and no stream.
func (p *publisher) overdue(now time.Time, connected bool) {
	if !connected {
		return
	}
	limit := time.Duration(p.AckTimeout * float64(time.Second))
	p.underway(func(s *slot) {
		if s.resend || now.Sub(s.sent) < limit {
			return
		}
		if p.Safe && s.tries < 2 {
			p.later(s)
			return
		}
		p.settle(s, 0, unknown, fmt.Sprintf("no acknowledgement within %g s: it may be stored, or not", p.AckTimeout))
	})
}

// giveUp ends what is on its way after the server was away for too long.
func (p *publisher) giveUp() {
	p.underway(func(s *slot) {
		if s.tries == 0 {
			p.settle(s, 0, failed, "it was not sent: the server was away")
			return
		}
		p.settle(s, 0, unknown, "the server went away before it was acknowledged: it may be stored, or not")
	})
}

// deny fails the rows of a subject the server does not let us publish to.
func (p *publisher) deny(text string) {
	subject, publishing := deniedSubject(text)
	if !publishing {
		return
	}
	p.denied[subject] = "permission denied"
	p.underway(func(s *slot) {
		if string(s.batch.subject.Value(s.row)) == subject {
			p.settle(s, 0, failed, "permission denied")
		}
	})
}

// write lets go of the batches at the front whose rows all have results.
func (p *publisher) write() error {
	for len(p.queue) > 0 && p.queue[0].left == 0 {
		b := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		builder := array.NewRecordBuilder(memory.NewGoAllocator(), p.schema)
		builder.Field(0).(*array.Int64Builder).AppendValues(b.seqs, nil)
		builder.Field(1).(*array.Int8Builder).AppendValues(b.codes, nil)
		reasons := builder.Field(2).(*array.StringBuilder)
		for row := range b.codes {
			if reason, found := b.reasons[row]; found {
				reasons.Append(reason)
			} else {
				reasons.AppendNull()
			}
		}
		record := builder.NewRecord()
		err := p.writer.Write(record)
		record.Release()
		b.record.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// parseAck reads {"stream":"S","seq":12} without a decoder, and everything else with one.
func parseAck(data []byte) (sequence int64, twice bool, refused *apiError) {
	text := string(data)
	if !strings.Contains(text, `"error"`) && !strings.Contains(text, `"duplicate"`) {
		if _, rest, found := strings.Cut(text, `"seq":`); found {
			end := 0
			for end < len(rest) && (rest[end] == ' ' || rest[end] >= '0' && rest[end] <= '9') {
				end++
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(rest[:end]), 10, 64); err == nil && n > 0 {
				return n, false, nil
			}
		}
	}
	var ack struct {
		Error     *apiError `json:"error"`
		Sequence  int64     `json:"seq"`
		Duplicate bool      `json:"duplicate"`
	}
	if err := json.Unmarshal(data, &ack); err != nil || ack.Error == nil && ack.Sequence == 0 {
		return 0, false, &apiError{Code: 500, Description: fmt.Sprintf("the answer is no acknowledgement: %.80q", data)}
	}
	return ack.Sequence, ack.Duplicate, ack.Error
}
