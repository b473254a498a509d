package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/nats-io/nats.go"
)

const (
	heartbeat   = 500 * time.Millisecond
	silence     = 1750 * time.Millisecond // three heartbeats are missing: the consumer is taken for lost
	pullExpires = 30 * time.Second
	tick        = 100 * time.Millisecond
)

// readRequest says what to read.
type readRequest struct {
	Stream         string   `json:"stream"`
	Subjects       []string `json:"subjects"`
	StartSequence  uint64   `json:"start_sequence"`
	StartTime      string   `json:"start_time"`
	LastPerSubject bool     `json:"last_per_subject"`
	EndSequence    uint64   `json:"end_sequence"` // the last to read
	Limit          int64    `json:"limit"`        // 0: none
	Headers        []string `json:"headers"`
	AllHeaders     bool     `json:"all_headers"`
	PullMessages   int      `json:"pull_messages"`
	PullBytes      int      `json:"pull_bytes"`
	BatchRows      int      `json:"batch_rows"`
	BatchBytes     int      `json:"batch_bytes"`
	Patience       float64  `json:"patience_s"` // how long a server may be away
}

// reader follows a stream up to a fixed end, over whatever the server does meanwhile.
type reader struct {
	readRequest
	link     *link
	out      *output
	say      *events
	messages chan *nats.Msg
	sub      *nats.Subscription
	consumer string
	next     uint64 // the sequence to go on from
	got      int64
	asked    int    // messages the server may still send
	position uint64 // of the consumer's deliveries
	pending  uint64 // what the server holds beyond the last message
	heard    time.Time
	moved    time.Time
}

func read(where server, line []byte, stdin io.Reader, stdout io.Writer, say *events) error {
	var request readRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return failure{"usage", err.Error()}
	}
	link, err := where.connect("platform-kit-frames-read")
	if err != nil {
		return err
	}
	defer link.Close()
	r := &reader{readRequest: request, link: link, say: say, next: max(request.StartSequence, 1)}
	r.out = newOutput(stdout, request)
	gone := make(chan struct{})
	go func() { io.Copy(io.Discard, stdin); close(gone) }()
	if err := r.run(gone); err != nil {
		return err
	}
	return r.out.close()
}

func (r *reader) run(gone <-chan struct{}) error {
	defer r.leave()
	r.moved = time.Now()
	open := false
	wake := time.NewTicker(tick)
	defer wake.Stop()
	for {
		if !open {
			done, err := r.open()
			if done || err != nil {
				return err
			}
			open = r.sub != nil
		}
		select {
		case message := <-r.messages:
			state, err := r.take(message)
			// What is there already is taken without another look around.
			for err == nil && state == proceed {
				select {
				case message = <-r.messages:
					state, err = r.take(message)
					continue
				default:
				}
				break
			}
			if err != nil || state == finished {
				return err
			}
			open = state != again
		case <-wake.C:
			if err := r.out.idle(); err != nil {
				return err
			}
			if err := r.patience(); err != nil {
				return err
			}
			if open && time.Since(r.heard) > silence {
				open = false
			}
		case <-r.link.lost:
			open = false
		case <-r.link.back:
			open = false
		case text := <-r.link.denied:
			return failure{"denied", text}
		case <-gone:
			return failure{"gone", "nobody reads any more"}
		}
	}
}

func (r *reader) patience() error {
	if waited := time.Since(r.moved); r.Patience > 0 && waited.Seconds() > r.Patience {
		return failure{"stalled", fmt.Sprintf("nothing came for %.0f s after sequence %d", r.Patience, r.next-1)}
	}
	return nil
}

// open makes a consumer from the next sequence on. True if there is nothing to read.
func (r *reader) open() (bool, error) {
	r.leave()
	if r.LastPerSubject && r.got > 0 && r.next > r.EndSequence {
		return true, nil
	}
	config := map[string]any{
		"deliver_policy": "by_start_sequence", "opt_start_seq": r.next, "ack_policy": "none", "replay_policy": "instant",
		"inactive_threshold": time.Minute, "mem_storage": true, "num_replicas": 1,
	}
	switch {
	case r.LastPerSubject:
		config["deliver_policy"] = "last_per_subject"
		delete(config, "opt_start_seq")
	case r.StartTime != "" && r.got == 0:
		config["deliver_policy"], config["opt_start_time"] = "by_start_time", r.StartTime
		delete(config, "opt_start_seq")
	}
	if len(r.Subjects) > 0 {
		config["filter_subjects"] = r.Subjects
	} else if r.LastPerSubject {
		config["filter_subjects"] = []string{">"}
	}
	var made struct {
		Name       string `json:"name"`
		NumPending uint64 `json:"num_pending"`
	}
	request := map[string]any{"stream_name": r.Stream, "config": config}
	if err := r.link.api("CONSUMER.CREATE."+r.Stream, request, &made); err != nil {
		return false, r.transient(err)
	}
	if made.NumPending == 0 {
		r.consumer = made.Name
		return true, nil
	}
	r.messages = make(chan *nats.Msg, 4*r.PullMessages+64)
	sub, err := r.link.ChanSubscribe(r.link.NewRespInbox(), r.messages)
	if err != nil {
		return false, r.transient(err)
	}
	sub.SetPendingLimits(-1, -1)
	r.sub, r.consumer = sub, made.Name
	r.asked, r.position, r.pending, r.heard = 0, 0, made.NumPending, time.Now()
	return false, r.pull()
}

// transient returns nil for what passes by itself, after a moment.
func (r *reader) transient(err error) error {
	var refused *apiError
	if errors.As(err, &refused) && refused.Code < 500 && !(refused.Code == 404 && time.Since(r.moved) < 3*time.Second && r.got > 0) {
		kind := "refused"
		if refused.Code == 404 {
			kind = "missing"
		}
		return failure{kind, refused.Description}
	}
	select {
	case text := <-r.link.denied:
		return failure{"denied", text}
	case <-time.After(tick):
	}
	return r.patience()
}

func (r *reader) pull() error {
	for r.asked <= r.PullMessages/2 {
		request, _ := json.Marshal(map[string]any{
			"batch": r.PullMessages, "max_bytes": r.PullBytes,
			"expires": pullExpires, "idle_heartbeat": heartbeat,
		})
		r.asked += r.PullMessages
		subject := "$JS.API.CONSUMER.MSG.NEXT." + r.Stream + "." + r.consumer
		if err := r.link.PublishRequest(subject, r.sub.Subject, request); err != nil {
			return nil // the connection broke; it is seen elsewhere
		}
	}
	return nil
}

// leave lets go of the consumer. What it has sent and nobody took is dropped: the next one begins with it.
func (r *reader) leave() {
	r.messages = nil
	if r.sub != nil {
		r.sub.Unsubscribe()
		r.sub = nil
	}
	if r.consumer != "" {
		// Nobody waits for the answer: a consumer that cannot be deleted now goes by itself.
		r.link.Publish("$JS.API.CONSUMER.DELETE."+r.Stream+"."+r.consumer, nil)
		r.consumer = ""
	}
}

type state int

const (
	proceed state = iota
	finished
	again // another consumer is needed
)

func (r *reader) take(message *nats.Msg) (state, error) {
	r.heard = time.Now()
	if len(message.Data) == 0 && message.Reply == "" || message.Header.Get("Status") != "" && message.Reply == "" {
		return r.status(message)
	}
	place, ok := parsePlace(message.Reply)
	if !ok {
		return proceed, failure{"protocol", fmt.Sprintf("a message came with the reply subject %q", message.Reply)}
	}
	if place.delivery != r.position+1 { // some were sent into a connection that is gone
		return again, nil
	}
	r.position, r.pending = place.delivery, place.pending
	r.asked--
	if place.sequence > r.EndSequence {
		return finished, nil
	}
	if place.sequence >= r.next {
		r.next = place.sequence + 1
		r.got++
		r.moved = r.heard
		if err := r.out.add(message, place); err != nil {
			return finished, err
		}
		if r.out.rows == 0 { // whoever reads may have taken any time over the batch
			r.heard = time.Now()
			r.moved = r.heard
		}
		if r.Limit > 0 && r.got >= r.Limit {
			return finished, nil
		}
	}
	if place.sequence == r.EndSequence || place.pending == 0 {
		return finished, nil
	}
	return proceed, r.pull()
}

// status is a message of the server's own: a heartbeat, or the end of a pull.
func (r *reader) status(message *nats.Msg) (state, error) {
	switch message.Header.Get("Status") {
	case "100":
		// Nothing comes though something is left: it may have been deleted meanwhile.
		var info struct {
			NumPending uint64 `json:"num_pending"`
			Delivered  struct {
				Consumer uint64 `json:"consumer_seq"`
			} `json:"delivered"`
		}
		if err := r.link.api("CONSUMER.INFO."+r.Stream+"."+r.consumer, struct{}{}, &info); err != nil {
			return again, r.transient(err)
		}
		if info.NumPending == 0 && info.Delivered.Consumer == r.position {
			return finished, nil
		}
		return proceed, nil
	case "404", "408":
		r.asked = 0
		return proceed, r.pull()
	case "409":
		description := message.Header.Get("Description")
		if description == "Consumer Deleted" || description == "Consumer is push based" {
			return again, nil
		}
		// The pull has ended early: its bytes were used up. What it did not deliver is asked for again.
		var left int
		fmt.Sscan(message.Header.Get("Nats-Pending-Messages"), &left)
		r.asked = max(r.asked-left, 0)
		return proceed, r.pull()
	default: // 503: the consumer is gone
		return again, nil
	}
}

// place is where a message is, as its reply subject says.
type place struct{ sequence, delivery, time, pending uint64 }

// parsePlace reads $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<delivery>.<time>.<pending>, or the longer form
// with domain and account before the stream and a token at the end.
func parsePlace(reply string) (place, bool) {
	var at [12]int
	n := 0
	for i := 0; i < len(reply) && n < len(at); i++ {
		if reply[i] == '.' {
			at[n] = i
			n++
		}
	}
	first := 4 // the dot before the sequence
	if n >= 10 {
		first = 6
	} else if n != 8 {
		return place{}, false
	}
	number := func(i int) uint64 {
		end := len(reply)
		if i+1 < n {
			end = at[i+1]
		}
		var value uint64
		for _, c := range []byte(reply[at[i]+1 : end]) {
			value = value*10 + uint64(c-'0')
		}
		return value
	}
	p := place{number(first), number(first + 1), number(first + 2), number(first + 3)}
	return p, p.sequence > 0 && p.delivery > 0
}

// output collects messages into record batches.
type output struct {
	readRequest
	writer  *ipc.Writer
	record  *array.RecordBuilder
	rows    int
	bytes   int
	flushed time.Time
}

func newOutput(stdout io.Writer, request readRequest) *output {
	fields := []arrow.Field{
		{Name: "sequence", Type: arrow.PrimitiveTypes.Int64},
		{Name: "time", Type: arrow.PrimitiveTypes.Int64},
		{Name: "subject", Type: arrow.BinaryTypes.Binary},
		{Name: "payload", Type: arrow.BinaryTypes.Binary},
	}
	if request.AllHeaders {
		fields = append(fields, arrow.Field{Name: "headers", Type: arrow.BinaryTypes.Binary, Nullable: true})
	}
	for _, name := range request.Headers {
		fields = append(fields, arrow.Field{Name: "header." + name, Type: arrow.BinaryTypes.Binary, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	return &output{
		readRequest: request,
		writer:      ipc.NewWriter(stdout, ipc.WithSchema(schema)),
		record:      array.NewRecordBuilder(memory.NewGoAllocator(), schema),
		flushed:     time.Now(),
	}
}

func (o *output) add(message *nats.Msg, at place) error {
	if o.rows == 0 {
		o.record.Reserve(o.BatchRows)
	}
	o.record.Field(0).(*array.Int64Builder).UnsafeAppend(int64(at.sequence))
	o.record.Field(1).(*array.Int64Builder).UnsafeAppend(int64(at.time))
	o.record.Field(2).(*array.BinaryBuilder).AppendString(message.Subject)
	o.record.Field(3).(*array.BinaryBuilder).Append(message.Data)
	column := 4
	if o.AllHeaders {
		builder := o.record.Field(column).(*array.BinaryBuilder)
		if len(message.Header) == 0 {
			builder.AppendNull()
		} else {
			lines := headerLines(message.Header)
			o.bytes += len(lines)
			builder.Append(lines)
		}
		column++
	}
	for i, name := range o.Headers {
		builder := o.record.Field(column + i).(*array.BinaryBuilder)
		if values := message.Header[name]; len(values) > 0 {
			builder.AppendString(values[0])
		} else {
			builder.AppendNull()
		}
	}
	o.rows++
	o.bytes += len(message.Data) + len(message.Subject)
	if o.rows >= o.BatchRows || o.bytes >= o.BatchBytes {
		return o.flush()
	}
	return nil
}

// idle lets go of what has waited long enough.
func (o *output) idle() error {
	if o.rows > 0 && time.Since(o.flushed) > 2*tick {
		return o.flush()
	}
	return nil
}

func (o *output) flush() error {
	o.flushed = time.Now()
	if o.rows == 0 {
		return nil
	}
	batch := o.record.NewRecord()
	defer batch.Release()
	o.rows, o.bytes = 0, 0
	return o.writer.Write(batch)
}

func (o *output) close() error {
	if err := o.flush(); err != nil {
		return err
	}
	return o.writer.Close()
}
