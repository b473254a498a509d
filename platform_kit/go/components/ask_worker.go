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
	attemptsKey = "Worker-Attempts"

	firstPause   = 50 * time.Millisecond
	longestPause = 500 * time.Millisecond
	longestWork  = 10 * time.Minute
)

// failurePauses are what a worker gets between its attempts.
var failurePauses = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

func askWorkerSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Categories("Services").
		Summary("Sends the message to a worker and goes on with its answer.").
		Description(`The worker is a NATS micro service on the subject workers.<name>; of several, one gets the message. While a request
waits or is worked on, the worker says so. So a slow worker is waited for, and one that died is noticed after silence. With no
worker there, or one that says it cannot work now (503), or one that died before it began, the message is asked again until
somebody works on it or wait_for_worker is over; only then does the processor fail, and the input puts the message back.

A failure the worker answers is no failure of the processor: the message then has the metadata Nats-Service-Error-Code and
Nats-Service-Error, and the body {"column":...,"reason":...}. 422 is the message's own fault. 500 and 504 may pass: they are
tried again, with a growing pause, up to the number of attempts. A worker that died or hangs over a message counts as 504. The
metadata Worker-Attempts says how often a worker has worked on the message.`).
		Fields(connectionFields()...).
		Field(service.NewStringField("worker").Description("The worker's name.").Example("card-renderer")).
		Field(inboxField()).
		Field(service.NewStringMapField("headers").Description("Headers of the request.").Default(map[string]any{}).Advanced()).
		Field(service.NewIntField("attempts").Description("How often a message is tried that a worker fails on.").Default(5)).
		Field(service.NewDurationField("timeout").Description("How long a request may wait at a worker before it is begun.").Default("2m")).
		Field(service.NewDurationField("silence").Description("A worker not heard of for so long is taken for dead.").Default("3s")).
		Field(service.NewDurationField("wait_for_worker").
			Description("How long a message is held while no worker takes it. A pipeline cannot be replaced meanwhile.").Default("1s"))
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
	name                            string
	attempts                        int
	headers                         map[string]string
	timeout, silence, waitForWorker time.Duration
	log                             *service.Logger

	nc      *connection
	answers *nats.Subscription
	inbox   string // answers come to inbox.<number>
	number  atomic.Uint64

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg
}

func newAskWorker(conf *service.ParsedConfig, mgr *service.Resources) (p *askWorker, err error) {
	p = &askWorker{log: mgr.Logger(), waiting: map[string]chan *nats.Msg{}}
	where, err := parseAddress(conf)
	if err != nil {
		return nil, err
	}
	if p.name, err = conf.FieldString("worker"); err != nil {
		return nil, err
	}
	if p.name == "" || strings.ContainsAny(p.name, " \t\r\n*>") {
		return nil, fmt.Errorf("worker: %q cannot be the name of a worker", p.name)
	}
	if p.headers, err = conf.FieldStringMap("headers"); err != nil {
		return nil, err
	}
	if p.attempts, err = conf.FieldInt("attempts"); err != nil {
		return nil, err
	}
	if p.attempts < 1 {
		return nil, errors.New("attempts must be positive")
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
	if p.nc, err = connect(where, p.log); err != nil {
		return nil, err
	}
	p.inbox = p.nc.NewInbox()
	if p.answers, err = p.nc.Subscribe(p.inbox+".*", p.received); err != nil {
		p.nc.release()
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
	if msg.Header.Get(worker.WorkingHeader) != "" && len(to) >= cap(to)-1 {
		return // one sign of life is as good as three; the last place is the answer's
	}
	select {
	case to <- msg:
	default: // a second answer
	}
}

// Process asks until a worker has answered. Its error means that none could be asked.
func (p *askWorker) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	body, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	tried, pause := 0, firstPause
	giveUp := time.Now().Add(p.waitForWorker)
	for {
		answer, err := p.ask(ctx, body)
		var away *awayError
		switch {
		case err == nil:
			if tried++; tried == p.attempts || !mayPass(answer) {
				return service.MessageBatch{p.answered(msg, answer, tried)}, nil
			}
			p.log.Warnf("attempt %d of %d: the worker %s failed: %s", tried, p.attempts, p.name, answer.Header.Get(micro.ErrorHeader))
			pause = failurePauses[min(tried, len(failurePauses))-1]
			giveUp = time.Now().Add(pause + p.waitForWorker)
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
		if away != nil {
			pause = min(2*pause, longestPause)
		} else {
			pause = firstPause
		}
	}
}

// answered is the message with the answer in place of its body.
func (p *askWorker) answered(msg *service.Message, answer *nats.Msg, tried int) *service.Message {
	out := msg.Copy()
	out.SetBytes(answer.Data)
	for key := range answer.Header {
		out.MetaSetMut(key, answer.Header.Get(key))
	}
	out.MetaSetMut(attemptsKey, strconv.Itoa(tried))
	return out
}

// mayPass tells whether another attempt may go better.
func mayPass(answer *nats.Msg) bool {
	code := answer.Header.Get(micro.ErrorCodeHeader)
	return code == worker.CodeFailed || code == worker.CodeDeadline
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

	if !p.nc.IsConnected() {
		return nil, errServerAway
	}
	sent := time.Now().UnixNano()
	switch err := p.nc.PublishMsg(p.request(reply, body)); {
	case errors.Is(err, nats.ErrMaxPayload):
		return failure(worker.CodeRejected, "the request has %d bytes, too many for the server", len(body)), nil
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, errServerAway
	case err != nil:
		return nil, err
	}
	// The worker ends its own work in time and refuses what waits too long; this ends what says "waiting" for ever.
	end := time.NewTimer(p.timeout + longestWork)
	defer end.Stop()
	quiet := time.NewTimer(p.silence)
	defer quiet.Stop()
	begun := false
	for {
		select {
		case answer := <-answers:
			if sign := answer.Header.Get(worker.WorkingHeader); sign != "" {
				begun = begun || sign == worker.Running
				quiet.Reset(p.silence)
				continue
			}
			return p.judge(answer)
		case <-quiet.C:
			// Between us and the worker may have been the server: it gets the same time to come back.
			if rest := p.nc.since(); rest < p.silence {
				quiet.Reset(p.silence - rest)
				continue
			}
			switch {
			case p.nc.reconnected.Load() > sent:
				return nil, errServerAway // request or answer went with it
			case !begun:
				return nil, &awayError{"the worker " + p.name + " was there, and was gone before it began"}
			}
			return failure(worker.CodeDeadline, "the worker %s was not heard of for %v: it died over this message, or hangs", p.name, p.silence), nil
		case <-end.C:
			return failure(worker.CodeDeadline, "the worker %s did not answer within %v", p.name, p.timeout+longestWork), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *askWorker) request(reply string, body []byte) *nats.Msg {
	request := &nats.Msg{Subject: "workers." + p.name, Reply: reply, Data: body, Header: nats.Header{
		worker.TimeoutHeader:  {p.timeout.String()},
		worker.ProgressHeader: {(p.silence / 3).String()},
	}}
	for key, value := range p.headers {
		request.Header.Set(key, value)
	}
	return request
}

// judge tells an answer from the news that nobody worked on the message.
func (p *askWorker) judge(answer *nats.Msg) (*nats.Msg, error) {
	switch {
	case len(answer.Data) == 0 && answer.Header.Get("Status") == "503":
		return nil, &awayError{"no worker " + p.name + " is there"}
	case answer.Header.Get(micro.ErrorCodeHeader) == worker.CodeUnavailable:
		return nil, &awayError{"the worker " + p.name + " says: " + answer.Header.Get(micro.ErrorHeader)}
	}
	return answer, nil
}

// failure is an answer in the name of a worker that gave none.
func failure(code, format string, args ...any) *nats.Msg {
	reason := fmt.Sprintf(format, args...)
	body, _ := json.Marshal(map[string]any{"column": nil, "reason": reason})
	return &nats.Msg{Data: body, Header: nats.Header{micro.ErrorCodeHeader: {code}, micro.ErrorHeader: {reason}}}
}

// Close gives the connection back.
func (p *askWorker) Close(context.Context) error {
	_ = p.answers.Unsubscribe() // an error says that the connection is closed already
	p.nc.release()
	return nil
}
