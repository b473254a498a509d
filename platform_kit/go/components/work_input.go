package components

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	// mostHeld bounds what a consumer without a max_ack_pending of its own is allowed to send ahead.
	mostHeld = 8192
	pullSize = 64
	// A message is confirmed to be in work three times within the server's ack_wait.
	touchesPerAckWait = 3
	drainTimeout      = 2 * time.Second
)

func workInputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Categories("Services").
		Summary("Takes work from a durable pull consumer of a JetStream stream.").
		Description(`Messages are pulled ahead in batches, as many as the consumer's max_ack_pending allows, and each is acknowledged
alone, once the output has it. While a message waits or is worked on, the server is told so, so ack_wait can be short: it
only has to tell a dead consumer from a living one. A message that failed is put back and comes again after a pause that
grows with its deliveries. What was pulled and not begun when the input closes is put back at once.

With a batch_size above 1, what has already arrived goes on together: one message where the stream is slow, more the more
there is to do. Nothing waits for a batch to fill, and of a batch only what failed is put back.

### Metadata

- nats_subject
- nats_sequence_stream
- nats_num_delivered
- nats_timestamp_unix_nano
- all headers of the message`).
		Fields(connectionFields()...).
		Field(service.NewStringField("stream").Description("The stream.")).
		Field(service.NewStringField("consumer").Description("The durable pull consumer; it has to exist.")).
		Field(inboxField()).
		Field(service.NewIntField("batch_size").
			Description("How many messages at most go on together. Messages that take long are better alone; small ones that pass quickly cost far less in hundreds.").
			Default(1).Example(500)).
		Field(service.NewStringListField("backoff").
			Description("How long a message that failed waits: after its first delivery, its second, and so on.").
			Default([]any{"100ms", "500ms", "1s", "2s", "5s"}).Advanced()).
		Field(service.NewAutoRetryNacksToggleField().Default(false))
}

func init() {
	err := service.RegisterBatchInput("jetstream_work", workInputSpec(),
		func(conf *service.ParsedConfig, mgr *service.Resources) (service.BatchInput, error) {
			in, err := newWorkInput(conf, mgr)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatchedToggled(conf, in)
		})
	if err != nil {
		panic(err)
	}
}

type workInput struct {
	address          address
	stream, consumer string
	batchSize        int
	backoff          []time.Duration
	log              *service.Logger

	mu      sync.Mutex
	session *session
}

func newWorkInput(conf *service.ParsedConfig, mgr *service.Resources) (in *workInput, err error) {
	in = &workInput{log: mgr.Logger()}
	if in.address, err = parseAddress(conf); err != nil {
		return nil, err
	}
	if in.stream, err = conf.FieldString("stream"); err != nil {
		return nil, err
	}
	if in.consumer, err = conf.FieldString("consumer"); err != nil {
		return nil, err
	}
	if in.batchSize, err = conf.FieldInt("batch_size"); err != nil {
		return nil, err
	}
	if in.batchSize < 1 {
		return nil, errors.New("batch_size must be positive")
	}
	pauses, err := conf.FieldStringList("backoff")
	if err != nil {
		return nil, err
	}
	for _, text := range pauses {
		pause, err := time.ParseDuration(text)
		if err != nil || pause < 0 {
			return nil, fmt.Errorf("backoff: %q is not a duration such as 500ms", text)
		}
		in.backoff = append(in.backoff, pause)
	}
	return in, nil
}

// Connect is called again by Wombat until it succeeds, and after ErrNotConnected.
func (in *workInput) Connect(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.session != nil {
		return nil
	}
	nc, err := connect(in.address, in.log)
	if err != nil {
		return err
	}
	s, err := openSession(ctx, nc, in)
	if err != nil {
		nc.release()
		return err
	}
	in.session = s
	return nil
}

// ReadBatch returns the next messages, as many as are there and go together.
func (in *workInput) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	s := in.session
	in.mu.Unlock()
	if s == nil {
		return nil, nil, service.ErrNotConnected
	}
	select {
	case first := <-s.ready:
		msgs := s.together(first, in.batchSize)
		batch := make(service.MessageBatch, len(msgs))
		for i, msg := range msgs {
			batch[i] = toMessage(msg)
		}
		return batch, s.acknowledge(batch, msgs, in.backoff), nil
	case <-s.ended:
		in.mu.Lock()
		in.session = nil
		in.mu.Unlock()
		s.close()
		return nil, nil, service.ErrNotConnected
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Close is called when every message that was read has been acknowledged or given up.
func (in *workInput) Close(context.Context) error {
	in.mu.Lock()
	s := in.session
	in.session = nil
	in.mu.Unlock()
	if s != nil {
		s.close()
	}
	return nil
}

// session is one connection with its messages in work.
type session struct {
	nc       *connection
	messages jetstream.MessagesContext
	log      *service.Logger
	ready    chan *heldMessage // pulled and not yet read; as large as what the server sends ahead
	ended    chan struct{}     // closed when the consumer sends no more
	closing  chan struct{}
	leave    context.CancelFunc // ends the reading, however much is still to come
	tasks    sync.WaitGroup

	mu   sync.Mutex
	held map[uint64]*heldMessage // by stream sequence
}

// heldMessage is one that was delivered and not acknowledged.
type heldMessage struct {
	jetstream.Msg
	about *jetstream.MsgMetadata
	heard time.Time // when the server last heard of it
}

func (m *heldMessage) sequence() uint64 { return m.about.Sequence.Stream }

func openSession(ctx context.Context, nc *connection, in *workInput) (*session, error) {
	if err := nc.up(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc.Conn)
	if err != nil {
		return nil, err
	}
	consumer, err := js.Consumer(ctx, in.stream, in.consumer)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of stream %s: %w", in.consumer, in.stream, err)
	}
	config := consumer.CachedInfo().Config
	if config.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, fmt.Errorf("consumer %s of stream %s has ack policy %v; work needs explicit", in.consumer, in.stream, config.AckPolicy)
	}
	ahead := config.MaxAckPending
	if ahead < 1 || ahead > mostHeld {
		ahead = mostHeld
	}
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(min(ahead, max(pullSize, 2*in.batchSize))),
		jetstream.PullHeartbeat(time.Second),
		jetstream.WithMessagesErrOnMissingHeartbeat(false),
	)
	if err != nil {
		return nil, err
	}
	reading, leave := context.WithCancel(context.Background())
	s := &session{
		nc: nc, messages: messages, log: in.log, leave: leave,
		ready: make(chan *heldMessage, ahead), ended: make(chan struct{}), closing: make(chan struct{}),
		held: map[uint64]*heldMessage{},
	}
	s.tasks.Add(2)
	go s.receive(reading)
	go s.touch(config.AckWait / touchesPerAckWait)
	return s, nil
}

// receive passes on what arrives, and remembers it as held.
func (s *session) receive(ctx context.Context) {
	defer s.tasks.Done()
	defer close(s.ended)
	until := jetstream.NextContext(ctx)
	for {
		msg, err := s.messages.Next(until)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				s.log.Errorf("no more messages: %v", err)
			}
			return
		}
		held := s.hold(msg)
		if held == nil {
			continue
		}
		select {
		case s.ready <- held:
		case <-s.closing:
			s.putBack(held)
		}
	}
}

// hold remembers a message. It returns nil for one that is held already: after an outage longer than ack_wait the
// server gives it again, and the first one's acknowledgement is still good.
func (s *session) hold(msg jetstream.Msg) *heldMessage {
	about, err := msg.Metadata()
	if err != nil {
		s.log.Errorf("not a message of a stream: %v", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[about.Sequence.Stream] != nil {
		return nil
	}
	held := &heldMessage{msg, about, time.Now()}
	s.held[held.sequence()] = held
	return held
}

// touch tells the server, in time, of every message it has not heard of for a while.
func (s *session) touch(every time.Duration) {
	defer s.tasks.Done()
	every = max(every, 10*time.Millisecond)
	ticker := time.NewTicker(every / 2)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, msg := range s.due(now, every) {
				if err := msg.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
					s.log.Warnf("the server was not told of a message in work: %v", err)
				}
			}
		case <-s.closing:
			return
		}
	}
}

// due lists the messages the server is to hear of, and notes that it did.
func (s *session) due(now time.Time, every time.Duration) []*heldMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*heldMessage
	for _, msg := range s.held {
		if now.Sub(msg.heard) >= every/2 {
			msg.heard = now
			found = append(found, msg)
		}
	}
	return found
}

// together is a message with those that have arrived after it, as many as go into a batch.
func (s *session) together(first *heldMessage, most int) []*heldMessage {
	msgs := append(make([]*heldMessage, 0, min(most, 1+len(s.ready))), first)
	for len(msgs) < most {
		select {
		case next := <-s.ready:
			msgs = append(msgs, next)
		default:
			return msgs
		}
	}
	return msgs
}

func (s *session) release(msgs ...*heldMessage) {
	s.mu.Lock()
	for _, msg := range msgs {
		delete(s.held, msg.sequence())
	}
	s.mu.Unlock()
}

func (s *session) putBack(msg *heldMessage) {
	s.release(msg)
	_ = msg.Nak() // without a connection the server finds out by itself, after ack_wait
}

// acknowledge returns what Wombat calls when it is done with the messages.
func (s *session) acknowledge(batch service.MessageBatch, msgs []*heldMessage, backoff []time.Duration) service.AckFunc {
	var index *service.Indexer
	if len(batch) > 1 {
		index = batch.Index()
	}
	return func(_ context.Context, failure error) error {
		s.release(msgs...)
		failed := failedOf(failure, len(msgs), index)
		var found error
		for i, msg := range msgs {
			var err error
			if failed(i) {
				err = msg.NakWithDelay(pause(msg, backoff))
			} else {
				err = msg.Ack()
			}
			if found == nil {
				found = err // one is enough: without a connection all have the same
			}
		}
		return found
	}
}

// failedOf tells which messages of a batch an error is about. All of them, unless it says otherwise.
func failedOf(failure error, size int, index *service.Indexer) func(int) bool {
	if failure == nil {
		return func(int) bool { return false }
	}
	var batched *service.BatchError
	if index == nil || !errors.As(failure, &batched) || batched.IndexedErrors() == 0 {
		return func(int) bool { return true }
	}
	failed, left := make([]bool, size), batched.IndexedErrors()
	batched.WalkMessagesIndexedBy(index, func(i int, _ *service.Message, err error) bool {
		if err != nil {
			failed[i] = true
			left--
		}
		return true
	})
	// Left is what failed of messages made on the way: whose they were nobody can tell.
	return func(i int) bool { return failed[i] || left > 0 }
}

// pause is how long a message that failed is to wait.
func pause(msg *heldMessage, backoff []time.Duration) time.Duration {
	if len(backoff) == 0 {
		return 0
	}
	return backoff[min(max(int(msg.about.NumDelivered), 1), len(backoff))-1]
}

// close ends the session and puts back whatever was not acknowledged, also what Wombat took and did not begin.
func (s *session) close() {
	close(s.closing)
	// What has arrived and was not looked at yet is put back too, if the server is there to be told.
	s.messages.Drain()
	late := time.AfterFunc(drainTimeout, s.leave)
	s.tasks.Wait()
	late.Stop()
	s.leave()
	s.mu.Lock()
	left := slices.Collect(maps.Values(s.held))
	s.mu.Unlock()
	for _, msg := range left {
		s.putBack(msg)
	}
	_ = s.nc.FlushTimeout(drainTimeout)
	s.nc.release()
}

func toMessage(msg *heldMessage) *service.Message {
	out := service.NewMessage(msg.Data())
	for key, values := range msg.Headers() {
		if len(values) > 0 && values[0] != "" {
			out.MetaSetMut(key, values[0])
		}
	}
	out.MetaSetMut("nats_subject", msg.Subject())
	out.MetaSetMut("nats_sequence_stream", strconv.FormatUint(msg.about.Sequence.Stream, 10))
	out.MetaSetMut("nats_num_delivered", strconv.FormatUint(msg.about.NumDelivered, 10))
	out.MetaSetMut("nats_timestamp_unix_nano", strconv.FormatInt(msg.about.Timestamp.UnixNano(), 10))
	return out
}
