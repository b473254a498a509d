package components

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// expectations are headers by which a publisher says what the stream should hold. They are of the stream the message
// came from, and would be wrong of any other.
const expectations = "Nats-Expected-"

func storeOutputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Categories("Services").
		Summary("Stores messages in a JetStream stream.").
		Description(`A message is done when the stream says that it has it. Many are on their way at once: the messages of a batch, and
several batches. What was not stored fails alone: no stream takes its subject, the stream refused it, or said nothing
within timeout. When the connection breaks, what was on its way fails at once, and not only after the timeout. It may be
stored all the same, so give messages a message_id: then the stream drops the second one.

A connection that is away is not waited for here. Put a retry around this output, or let the input put the message back.`).
		Fields(connectionFields()...).
		Field(inboxField()).
		Field(service.NewInterpolatedStringField("subject").
			Description("Where to. A subject of the stream.").Example(`cards.${! @status }.${! @token }`)).
		Field(service.NewInterpolatedStringField("message_id").
			Description("What the stream knows the message by: of two with the same one, within its duplicate window, it keeps the first. Empty is none.").
			Default("").Example(`${! @nats_sequence_stream }`)).
		Field(service.NewInterpolatedStringMapField("headers").Description("Headers of the message.").Default(map[string]any{})).
		Field(service.NewMetadataExcludeFilterField("metadata").
			Description("Makes metadata headers, all but what is excluded. Without this field none are. Expectations of another stream (" + expectations + "…) never are.").
			Optional()).
		Field(service.NewDurationField("timeout").Description("How long the stream may take to say that it has a message.").Default("5s")).
		Field(service.NewOutputMaxInFlightField().
			Description("How many batches are on their way at once; a single message is a batch too.").Default(64))
}

func init() {
	err := service.RegisterBatchOutput("jetstream_store", storeOutputSpec(),
		func(conf *service.ParsedConfig, mgr *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			inFlight, err := conf.FieldMaxInFlight()
			if err != nil {
				return nil, service.BatchPolicy{}, 0, err
			}
			out, err := newStoreOutput(conf, mgr)
			return out, service.BatchPolicy{}, inFlight, err
		})
	if err != nil {
		panic(err)
	}
}

type storeOutput struct {
	address  address
	subject  *service.InterpolatedString
	id       *service.InterpolatedString // nil for none
	headers  map[string]*service.InterpolatedString
	metadata *service.MetadataExcludeFilter // nil for none
	timeout  time.Duration
	log      *service.Logger

	mu    sync.Mutex
	store *store
}

func newStoreOutput(conf *service.ParsedConfig, mgr *service.Resources) (out *storeOutput, err error) {
	out = &storeOutput{log: mgr.Logger()}
	if out.address, err = parseAddress(conf); err != nil {
		return nil, err
	}
	if out.subject, err = conf.FieldInterpolatedString("subject"); err != nil {
		return nil, err
	}
	if out.id, err = conf.FieldInterpolatedString("message_id"); err != nil {
		return nil, err
	}
	if text, static := out.id.Static(); static && text == "" {
		out.id = nil
	}
	if out.headers, err = conf.FieldInterpolatedStringMap("headers"); err != nil {
		return nil, err
	}
	if conf.Contains("metadata") {
		if out.metadata, err = conf.FieldMetadataExcludeFilter("metadata"); err != nil {
			return nil, err
		}
	}
	if out.timeout, err = conf.FieldDuration("timeout"); err != nil {
		return nil, err
	}
	if out.timeout <= 0 {
		return nil, errors.New("timeout must be positive")
	}
	return out, nil
}

// Connect is called again by Wombat until it succeeds.
func (out *storeOutput) Connect(context.Context) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.store != nil {
		return nil
	}
	nc, err := connect(out.address, out.log)
	if err != nil {
		return err
	}
	if err = nc.up(); err == nil {
		if out.store, err = openStore(nc); err == nil {
			return nil
		}
	}
	nc.release()
	return err
}

// WriteBatch returns when it is known of each message whether the stream has it.
func (out *storeOutput) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	out.mu.Lock()
	s := out.store
	out.mu.Unlock()
	if s == nil {
		return service.ErrNotConnected
	}
	msgs, errs := out.messages(batch)
	s.write(ctx, msgs, errs, out.timeout)
	return batchError(batch, msgs, errs)
}

// Close gives the connection back; Wombat calls it when nothing is being written any more.
func (out *storeOutput) Close(context.Context) error {
	out.mu.Lock()
	s := out.store
	out.store = nil
	out.mu.Unlock()
	if s != nil {
		s.close()
	}
	return nil
}

// messages are those of a batch as they are sent, and what is wrong with those that cannot be.
func (out *storeOutput) messages(batch service.MessageBatch) ([]nats.Msg, []error) {
	msgs, errs := make([]nats.Msg, len(batch)), make([]error, len(batch))
	subjects := batch.InterpolationExecutor(out.subject)
	var ids *service.MessageBatchInterpolationExecutor
	if out.id != nil {
		ids = batch.InterpolationExecutor(out.id)
	}
	for i, from := range batch {
		errs[i] = func() (err error) {
			to := &msgs[i]
			if to.Subject, err = subjects.TryString(i); err != nil {
				return fmt.Errorf("subject: %w", err)
			}
			if !speakable(to.Subject) {
				return fmt.Errorf("%q cannot be a subject", to.Subject)
			}
			if to.Data, err = from.AsBytes(); err != nil {
				return err
			}
			if out.metadata != nil {
				_ = out.metadata.Walk(from, func(key, value string) error {
					if !strings.HasPrefix(key, expectations) {
						setHeader(to, key, value)
					}
					return nil
				})
			}
			for key, template := range out.headers {
				value, err := template.TryString(from)
				if err != nil {
					return fmt.Errorf("header %s: %w", key, err)
				}
				setHeader(to, key, value)
			}
			if ids == nil {
				return nil
			}
			id, err := ids.TryString(i)
			if err != nil {
				return fmt.Errorf("message_id: %w", err)
			}
			if id != "" {
				setHeader(to, jetstream.MsgIDHeader, id)
			}
			return nil
		}()
	}
	return msgs, errs
}

func setHeader(msg *nats.Msg, key, value string) {
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	msg.Header[key] = []string{value}
}

// speakable tells whether a text can stand where the protocol has a subject: it ends at white space.
func speakable(subject string) bool {
	for i := range len(subject) {
		if subject[i] <= ' ' || subject[i] == 0x7f {
			return false
		}
	}
	return subject != ""
}

// batchError is what failed of a batch, for whoever sends the messages again.
func batchError(batch service.MessageBatch, msgs []nats.Msg, errs []error) error {
	var first error
	failed := 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		if failed++; first == nil {
			first = fmt.Errorf("not stored under %s: %w", msgs[i].Subject, err)
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed == len(batch):
		return first // of a whole batch the first says enough
	}
	found := service.NewBatchError(batch, fmt.Errorf("%d of %d messages: %w", failed, len(batch), first))
	for i, err := range errs {
		if err != nil {
			found.Failed(i, err)
		}
	}
	return found
}

// store sends messages and gathers what the stream says of them.
type store struct {
	nc      *connection
	answers *nats.Subscription
	inbox   string // answers come to <inbox>.<number of the batch>-<index in it>, both in base 36
	number  atomic.Uint64

	mu      sync.Mutex
	waiting map[uint64]*writing
}

// writing is a batch on its way.
type writing struct {
	mu   sync.Mutex
	errs []error // [errOnItsWay] until something is known
	left int     // that are on their way
	done chan struct{}
}

var (
	errOnItsWay = errors.New("on its way")
	errSilence  = errors.New("the stream said nothing in time")
	errNoStream = errors.New("no stream takes this subject, or JetStream is not ready")
)

func openStore(nc *connection) (s *store, err error) {
	s = &store{nc: nc, inbox: nc.NewInbox(), waiting: map[uint64]*writing{}}
	s.answers, err = nc.Subscribe(s.inbox+".*", s.received)
	return s, err
}

func (s *store) close() {
	_ = s.answers.Unsubscribe() // an error says that the connection is closed already
	s.nc.release()
}

// write sends the messages that have no error yet. When it returns, errs says what became of each.
func (s *store) write(ctx context.Context, msgs []nats.Msg, errs []error, timeout time.Duration) {
	lost := s.nc.lost()
	if err := s.nc.up(); err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
		return
	}
	w := &writing{errs: errs, done: make(chan struct{})}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = errOnItsWay
			w.left++
		}
	}
	if w.left == 0 {
		return
	}
	number := s.number.Add(1)
	s.mu.Lock()
	s.waiting[number] = w
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, number)
		s.mu.Unlock()
	}()

	reply := append(make([]byte, 0, len(s.inbox)+20), s.inbox...)
	reply = append(strconv.AppendUint(append(reply, '.'), number, 36), '-')
	for i := range msgs {
		if !w.open(i) {
			continue
		}
		msgs[i].Reply = string(strconv.AppendInt(reply, int64(i), 36))
		if err := s.nc.PublishMsg(&msgs[i]); err != nil {
			w.settle(i, unsent(err, len(msgs[i].Data), s.nc.MaxPayload()))
		}
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-w.done:
	case <-lost:
		w.settleAll(errServerAway)
	case <-late.C:
		w.settleAll(fmt.Errorf("%w, %v", errSilence, timeout))
	case <-ctx.Done():
		w.settleAll(ctx.Err())
	}
}

// unsent says why the client did not send a message.
func unsent(err error, size int, most int64) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("the message has %d bytes without its headers, too many for the server's limit of %d: %w", size, most, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return errServerAway
	}
	return err
}

// open tells whether nothing is known of a message yet.
func (w *writing) open(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs[i] == errOnItsWay
}

// settle notes what became of a message; the first to know is believed.
func (w *writing) settle(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i >= len(w.errs) || w.errs[i] != errOnItsWay {
		return
	}
	w.errs[i] = err
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// settleAll notes one end of all that are still on their way.
func (w *writing) settleAll(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.errs {
		if w.errs[i] == errOnItsWay {
			w.errs[i] = err
		}
	}
	w.left = 0
}

// received notes what the stream said of a message. What nobody waits for any more is dropped.
func (s *store) received(msg *nats.Msg) {
	number, index, ok := parseReply(msg.Subject[len(s.inbox):])
	if !ok {
		return
	}
	s.mu.Lock()
	w := s.waiting[number]
	s.mu.Unlock()
	if w != nil {
		w.settle(index, verdict(msg))
	}
}

// parseReply reads ".<number>-<index>".
func parseReply(text string) (number uint64, index int, ok bool) {
	first, second, found := strings.Cut(text, "-")
	if !found || !strings.HasPrefix(first, ".") {
		return 0, 0, false
	}
	number, err := strconv.ParseUint(first[1:], 36, 64)
	if err != nil {
		return 0, 0, false
	}
	at, err := strconv.ParseUint(second, 36, 31)
	return number, int(at), err == nil
}

var (
	accepted = []byte(`{"stream":"`)
	erred    = []byte(`"error"`)
	ending   = []byte(`}`)
)

// verdict is nil if the stream has the message.
func verdict(msg *nats.Msg) error {
	if bytes.HasPrefix(msg.Data, accepted) && bytes.HasSuffix(msg.Data, ending) && !bytes.Contains(msg.Data, erred) {
		return nil // as it nearly always is: not worth a JSON parser
	}
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return errNoStream
	}
	var said struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &said); {
	case err != nil:
		return fmt.Errorf("the stream's answer cannot be read: %w", err)
	case said.Error != nil:
		return fmt.Errorf("refused by the server: %w", said.Error)
	case said.Stream == "":
		return fmt.Errorf("the answer names no stream: %.200q", msg.Data)
	}
	return nil
}
