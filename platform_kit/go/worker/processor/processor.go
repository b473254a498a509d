// Package processor makes a worker's handler a processor of Wombat, with no process and no transport in between.
//
//	func main() {
//		processor.MustRegister("shout", "Answers in capitals.", shout)
//		service.RunCLI(context.Background())
//	}
//
// A config then says
//
//	pipeline:
//	  threads: 4        # so many handlers run at once
//	  processors:
//	    - worker_shout: { timeout: 2s }
//
// An answer, or why there is none, arrives exactly as it does from the same worker through nats_request_reply: a
// failure is no error of the processor but sets the metadata Nats-Service-Error-Code and Nats-Service-Error and the
// body {"column":...,"reason":...}. One mapping reads both.
//
// The price of having no process: a handler that exhausts memory or crashes the runtime takes Wombat along.
package processor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/redpanda-data/benthos/v4/public/service"

	"platform-kit/worker"
)

const (
	fieldTimeout    = "timeout"
	fieldMaxRequest = "max_request_bytes"
)

// MustRegister makes handler the processor "worker_<name>", with _ for each - of the name, in every Wombat that this
// program starts. It panics if the name is taken or cannot be one.
func MustRegister(name, summary string, handler worker.Handler) {
	if err := RegisterIn(service.GlobalEnvironment(), name, summary, handler); err != nil {
		panic(err)
	}
}

// RegisterIn is MustRegister for one environment.
func RegisterIn(env *service.Environment, name, summary string, handler worker.Handler) error {
	processor := "worker_" + strings.ReplaceAll(name, "-", "_")
	err := env.RegisterProcessor(processor, spec(summary), func(conf *service.ParsedConfig, mgr *service.Resources) (service.Processor, error) {
		return newProcessor(conf, mgr, handler)
	})
	if err != nil {
		return fmt.Errorf("cannot register the processor %s: %w", processor, err)
	}
	return nil
}

func spec(summary string) *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Categories("Workers").
		Summary(summary).
		Description("A worker of the platform that runs inside this process. `pipeline.threads` says how many messages it works on at once.\n\n"+
			"A message that it cannot answer gets the metadata `Nats-Service-Error-Code` (422 rejected, 500 failed, 503 unavailable, 504 deadline passed) and `Nats-Service-Error`, and the body `{\"column\":...,\"reason\":...}`, as from the same worker through `nats_request_reply`. It is not marked as failed. The worker gets a message's metadata as headers, and its own become metadata.").
		Fields(
			service.NewDurationField(fieldTimeout).
				Description("Deadline of one message. It is answered with 504 then, even if the worker does not return.").
				Default(worker.DefaultTimeout.String()),
			service.NewIntField(fieldMaxRequest).
				Description("A larger message is answered with 422.").
				Default(worker.DefaultMaxRequestBytes).
				LintRule(`root = if this < 1 { "must be positive" }`),
		)
}

// processor is safe to use from several threads.
type processor struct {
	caller  *worker.Caller
	replies *service.MetricCounter
	latency *service.MetricTimer
}

func newProcessor(conf *service.ParsedConfig, mgr *service.Resources, handler worker.Handler) (*processor, error) {
	timeout, err := conf.FieldDuration(fieldTimeout)
	if err != nil {
		return nil, err
	}
	maxRequest, err := conf.FieldInt(fieldMaxRequest)
	if err != nil {
		return nil, err
	}
	if timeout <= 0 || maxRequest < 1 {
		return nil, fmt.Errorf("%s and %s must be positive", fieldTimeout, fieldMaxRequest)
	}
	limits := worker.Limits{Timeout: timeout, MaxRequestBytes: maxRequest}
	return &processor{
		caller: worker.NewCaller(handler, limits, func(value any, stack []byte) {
			mgr.Logger().Errorf("The worker panicked: %v\n%s", value, stack)
		}),
		replies: mgr.Metrics().NewCounter("worker_replies", "code"),
		latency: mgr.Metrics().NewTimer("worker_latency_ns"),
	}, nil
}

// Process answers one message; Wombat calls it for each of a batch.
func (p *processor) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	req := worker.Request{Received: time.Now(), Header: headers(msg)}
	var err error
	if req.Data, err = msg.AsBytes(); err != nil {
		return nil, err
	}
	res, err := p.caller.Call(ctx, req)
	if ended := ctx.Err(); ended != nil && err != nil {
		return nil, ended // Wombat is stopping; the message is not answered but given back
	}
	p.latency.Timing(time.Since(req.Received).Nanoseconds())
	code := "200"
	if err != nil {
		var description string
		code, description, res.Data = worker.ErrorReply(err)
		res.Header = map[string][]string{micro.ErrorCodeHeader: {code}, micro.ErrorHeader: {description}}
	}
	p.replies.Incr(1, code)
	for key, values := range res.Header {
		if len(values) > 0 {
			msg.MetaSetMut(key, values[0])
		}
	}
	msg.SetBytes(res.Data)
	return service.MessageBatch{msg}, nil
}

// Close has nothing to end.
func (p *processor) Close(context.Context) error { return nil }

// headers returns a message's metadata, or nil if it has none.
func headers(msg *service.Message) map[string][]string {
	var all map[string][]string
	_ = msg.MetaWalk(func(key, value string) error {
		if all == nil {
			all = map[string][]string{}
		}
		all[key] = []string{value}
		return nil
	})
	return all
}
