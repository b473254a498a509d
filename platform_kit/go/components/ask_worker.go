package components

import (
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
	"github.com/nats-io/nats.go/micro"
	"github.com/redpanda-data/benthos/v4/public/service"

	"platform-kit/worker"
)

const (
	firstPause   = 50 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

func askWorkerSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Categories("Services").
		Summary("Sends the message to a worker and goes on with its answer.").
		Description(`The worker is a NATS micro service on the subject workers.<name>; of several, one gets the message. While a request
waits or is worked on, the worker says so. So a slow worker is waited for, up to timeout, and one that died is noticed after
silence. With no worker there, or one that says it cannot work now (503), the message is held and asked again until somebody
works on it or wait_for_worker is over; only then does the processor fail.

A failure the worker answers is no failure of the processor: the message then has the metadata Nats-Service-Error-Code and
Nats-Service-Error, and the body {"column":...,"reason":...}. 422 is the message's own fault, 500 and 504 may pass. A worker
that died or hangs over a message counts as 504.`).
		Fields(connectionFields()...).
		Field(service.NewStringField("worker").Description("The worker's name.").Example("card-renderer")).
		Field(service.NewStringField("inbox_prefix").Description("Where answers go.").Default("_INBOX").Advanced()).
		Field(service.NewStringMapField("headers").Description("Headers of the request.").Default(map[string]any{}).Advanced()).
		Field(service.NewDurationField("timeout").Description("The longest wait for one answer.").Default("2m")).
		Field(service.NewDurationField("silence").Description("A worker not heard of for so long is taken for dead.").Default("3s")).
		Field(service.NewDurationField("wait_for_worker").Description("How long a message is held while no worker takes it.").Default("10m"))
}

func init() {
	err := service.RegisterProcessor("ask_worker", askWorkerSpec(),
		func(conf *service.ParsedConfig, mgr *service.Resources) (service.Processor, error) {
			return newAskWorker(conf, mgr)
		})
	if err != nil {
		panic(err)
	}
}

type askWorker struct {
	name, inboxPrefix               string
	headers                         map[string]string
	timeout, silence, waitForWorker time.Duration
	log                             *service.Logger

	nc          *nats.Conn
	inbox       string // answers come to inbox.<number>
	number      atomic.Uint64
	reconnected atomic.Int64 // unix nanoseconds

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg
}

func newAskWorker(conf *service.ParsedConfig, mgr *service.Resources) (p *askWorker, err error) {
	p = &askWorker{log: mgr.Logger(), waiting: map[string]chan *nats.Msg{}}
	where, err := parseConnection(conf, mgr)
	if err != nil {
		return nil, err
	}
	if p.name, err = conf.FieldString("worker"); err != nil {
		return nil, err
	}
	if p.name == "" || strings.ContainsAny(p.name, " \t\r\n*>") {
		return nil, fmt.Errorf("worker: %q cannot be the name of a worker", p.name)
	}
	if p.inboxPrefix, err = conf.FieldString("inbox_prefix"); err != nil {
		return nil, err
	}
	if p.headers, err = conf.FieldStringMap("headers"); err != nil {
		return nil, err
	}
	for name, to := range map[string]*time.Duration{
		"timeout": &p.timeout, "silence": &p.silence, "wait_for_worker": &p.waitForWorker,
	} {
		if *to, err = conf.FieldDuration(name); err != nil {
			return nil, err
		}
		if *to <= 0 {
			return nil, fmt.Errorf("%s must be positive", name)
		}
	}
	p.nc, err = where.connect(
		nats.RetryOnFailedConnect(true), // the server may start after Wombat
		nats.CustomInboxPrefix(p.inboxPrefix),
		nats.ReconnectHandler(func(*nats.Conn) { p.reconnected.Store(time.Now().UnixNano()) }),
	)
	if err != nil {
		return nil, err
	}
	p.inbox = p.nc.NewInbox()
	if _, err := p.nc.Subscribe(p.inbox+".*", p.received); err != nil {
		p.nc.Close()
		return nil, err
	}
	return p, nil
}

// received hands an answer to whoever waits for it; one that comes too late is dropped.
func (p *askWorker) received(msg *nats.Msg) {
	p.mu.Lock()
	to := p.waiting[msg.Subject]
	p.mu.Unlock()
	if to == nil {
		return
	}
	select {
	case to <- msg:
	default: // the reader has two signs of life to read already; an answer finds room, as nothing comes after it
	}
}

// Process asks until a worker has answered. Its error means that none could be asked.
func (p *askWorker) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	body, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	giveUp := time.Now().Add(p.waitForWorker)
	pause := firstPause
	for {
		answer, err := p.ask(ctx, body)
		var away *awayError
		switch {
		case err == nil:
			out := msg.Copy()
			out.SetBytes(answer.Data)
			for key := range answer.Header {
				out.MetaSetMut(key, answer.Header.Get(key))
			}
			return service.MessageBatch{out}, nil
		case !errors.As(err, &away):
			return nil, err
		case time.Now().Add(pause).After(giveUp):
			return nil, fmt.Errorf("%w; gave up after %v", err, p.waitForWorker)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause = min(2*pause, longestPause)
	}
}

// awayError means that the message was not worked on, and can be sent again.
type awayError struct{ reason string }

func (e *awayError) Error() string { return e.reason }

// ask sends one request and waits for its answer. A worker that dies over it is an answer too: 504.
func (p *askWorker) ask(ctx context.Context, body []byte) (*nats.Msg, error) {
	reply := p.inbox + "." + strconv.FormatUint(p.number.Add(1), 36)
	answers := make(chan *nats.Msg, 4)
	p.mu.Lock()
	p.waiting[reply] = answers
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, reply)
		p.mu.Unlock()
	}()

	request := &nats.Msg{Subject: "workers." + p.name, Reply: reply, Data: body, Header: nats.Header{
		worker.TimeoutHeader:  {p.timeout.String()},
		worker.ProgressHeader: {(p.silence / 3).String()},
	}}
	for key, value := range p.headers {
		request.Header.Set(key, value)
	}
	if !p.nc.IsConnected() {
		return nil, &awayError{"the NATS server is away"}
	}
	if err := p.nc.PublishMsg(request); err != nil {
		return nil, err
	}
	end := time.NewTimer(p.timeout)
	defer end.Stop()
	quiet := time.NewTimer(p.silence)
	defer quiet.Stop()
	for {
		select {
		case answer := <-answers:
			switch {
			case answer.Header.Get(worker.WorkingHeader) != "":
				quiet.Reset(p.silence)
				continue
			case len(answer.Data) == 0 && answer.Header.Get("Status") == "503":
				return nil, &awayError{"no worker " + p.name + " is there"}
			case answer.Header.Get(micro.ErrorCodeHeader) == worker.CodeUnavailable:
				return nil, &awayError{"the worker " + p.name + " says: " + answer.Header.Get(micro.ErrorHeader)}
			}
			return answer, nil
		case <-quiet.C:
			// Between us and the worker may have been the server: it gets the same time to come back.
			if rest := p.sinceReconnect(); rest < p.silence {
				quiet.Reset(p.silence - rest)
				continue
			}
			return failure("the worker %s was not heard of for %v: it died over this message, or hangs", p.name, p.silence), nil
		case <-end.C:
			return failure("the worker %s did not answer within %v", p.name, p.timeout), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sinceReconnect is how long the connection has stood; nothing if it does not.
func (p *askWorker) sinceReconnect() time.Duration {
	if !p.nc.IsConnected() {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - p.reconnected.Load())
}

// failure is an answer in the name of a worker that gave none.
func failure(format string, args ...any) *nats.Msg {
	reason := fmt.Sprintf(format, args...)
	body, _ := json.Marshal(map[string]any{"column": nil, "reason": reason})
	return &nats.Msg{Data: body, Header: nats.Header{
		micro.ErrorCodeHeader: {worker.CodeDeadline}, micro.ErrorHeader: {reason},
	}}
}

// Close ends the connection.
func (p *askWorker) Close(context.Context) error {
	p.nc.Close()
	return nil
}
