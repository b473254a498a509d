package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	// InboxPrefix of a worker's replies; the role's permissions name it.
	InboxPrefix = "_INBOX_worker"
	// TimeoutHeader of a request says how long the asker waits, as Go writes durations: "2s". A request that
	// nobody waits for any more is not worked on.
	TimeoutHeader = "Request-Timeout"

	queueGroup    = "workers"
	reconnectWait = 50 * time.Millisecond
	respondFor    = 10 * time.Second
)

// connect opens the one connection of the process. Later losses of the server are waited out for ever.
func connect(c config, log *slog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(c.instance),
		nats.CustomInboxPrefix(InboxPrefix),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		// A server that vanished without closing its socket is noticed within half a minute.
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("connected again") }),
		nats.ErrorHandler(logAsyncError(log)),
	}
	if c.nkeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(c.nkeyFile)
		if err != nil {
			return nil, fmt.Errorf("no usable nkey seed in %s: %w", c.nkeyFile, err)
		}
		opts = append(opts, nkey)
	}
	if c.credsFile != "" {
		if _, err := os.Stat(c.credsFile); err != nil {
			return nil, fmt.Errorf("no credentials file: %w", err)
		}
		opts = append(opts, nats.UserCredentials(c.credsFile))
	}
	nc, err := nats.Connect(c.url, opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", redact(c.url), err)
	}
	return nc, nil
}

func logAsyncError(log *slog.Logger) nats.ErrHandler {
	return func(_ *nats.Conn, sub *nats.Subscription, err error) {
		if sub != nil {
			log.Error("nats", "error", err, "subject", sub.Subject)
			return
		}
		log.Error("nats", "error", err)
	}
}

// serve is a worker as a micro service, until the signal.
func (p *program) serve(ctx context.Context, c config, std streams, log *slog.Logger) int {
	fail := func(err error) int {
		fmt.Fprintf(std.err, "%s: %s\n", c.instance, oneLine(err.Error()))
		return exitStopped
	}
	nc, err := connect(c, log)
	if err != nil {
		return fail(err)
	}
	defer nc.Close()
	handler, err := p.build(Platform{NATS: nc, Instance: c.instance, Log: log})
	if err != nil {
		return fail(err)
	}
	pool := newPool(handler, c.limits, log)
	svc, err := p.register(nc, c, pool, log)
	if err != nil {
		pool.stop(0)
		return fail(err)
	}
	log.Info("ready", "subject", "workers."+p.name, "concurrency", c.limits.Concurrency, "pid", os.Getpid())

	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	select {
	case <-ctx.Done():
	case <-closed:
		pool.stop(0)
		return fail(fmt.Errorf("the connection is closed for good: %w", nc.LastError()))
	}

	// The subscription goes first, so that the queue group's other workers get what comes now.
	deadline := time.Now().Add(c.limits.Drain)
	if err := svc.Stop(); err != nil {
		log.Warn("stopping the service", "error", err)
	}
	if !taken(nc, deadline) {
		log.Warn("requests that had come were not all taken up in time")
	}
	clean := pool.stop(time.Until(deadline))
	_ = nc.FlushTimeout(time.Second)
	s := pool.stats()
	log.Info("stopped", "requests", s.Requests, "failed", s.Failed, "rejected", s.Rejected, "refused", s.Refused)
	if !clean {
		return fail(fmt.Errorf("a request was still running %v after the signal", c.limits.Drain))
	}
	return exitOK
}

// taken waits until everything the server had sent by now is with the handlers of its subscriptions: first it has to be
// read, then each subscription works off what was read before it.
func taken(nc *nats.Conn, deadline time.Time) bool {
	if err := nc.FlushTimeout(time.Until(deadline)); err != nil {
		return false
	}
	all := make(chan struct{})
	if err := nc.Barrier(func() { close(all) }); err != nil {
		return false
	}
	select {
	case <-all:
		return true
	case <-time.After(time.Until(deadline)):
		return false
	}
}

// register adds the micro service and answers from the pool. It returns once the server knows the subscription.
func (p *program) register(nc *nats.Conn, c config, pool *pool, log *slog.Logger) (micro.Service, error) {
	handle := func(req micro.Request) {
		header := req.Headers()
		var patience time.Duration
		if text := header.Get(TimeoutHeader); text != "" {
			patience, _ = time.ParseDuration(text) // unreadable is as good as absent
		}
		to := req.Reply()
		life := showLife(nc, to, header.Get(ProgressHeader))
		pool.submit(
			Request{Subject: req.Subject(), Header: header, Data: req.Data(), Received: time.Now()},
			patience,
			life,
			func(res Response, err error) {
				life.end()
				respond(nc, to, res, err, log)
			},
		)
	}
	svc, err := micro.AddService(nc, micro.Config{
		Name:        p.name,
		Version:     p.version,
		Description: "worker of the platform kit",
		QueueGroup:  queueGroup,
		Metadata:    map[string]string{"instance": c.instance, "pid": strconv.Itoa(os.Getpid()), "build": build},
		StatsHandler: func(*micro.Endpoint) any {
			return pool.stats()
		},
		// Given here it is subscribed before $SRV.PING is: who is answered there may send a request at once.
		Endpoint: &micro.EndpointConfig{Subject: "workers." + p.name, Handler: micro.HandlerFunc(handle)},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot register the service: %w", err)
	}
	// The library stops a service on any asynchronous error, a slow consumer's included. A worker reports and goes on.
	nc.SetErrorHandler(logAsyncError(log))
	// A refused subscription is reported before the answer to this flush.
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return nil, fmt.Errorf("the server does not answer: %w", err)
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return nil, fmt.Errorf("the server refuses the worker's subjects: %w", err)
	}
	return svc, nil
}

// respond publishes an answer itself: micro's own Respond is meant for the goroutine of the callback.
func respond(nc *nats.Conn, to string, res Response, err error, log *slog.Logger) {
	if to == "" {
		return // published without a reply subject: nobody asks
	}
	msg := &nats.Msg{Subject: to, Data: res.Data, Header: nats.Header(res.Header)}
	if err == nil && nc.MaxPayload() > 0 && int64(len(res.Data)) > nc.MaxPayload()-4096 {
		err = Reject("", fmt.Sprintf("the answer has %d bytes, more than the server's limit of %d", len(res.Data), nc.MaxPayload()))
	}
	if err != nil {
		code, description, body := ErrorReply(err)
		msg.Data = body
		msg.Header = nats.Header{micro.ErrorCodeHeader: {code}, micro.ErrorHeader: {description}}
	}
	err = nc.PublishMsg(msg)
	for end := time.Now().Add(respondFor); errors.Is(err, nats.ErrReconnectBufExceeded) && time.Now().Before(end); {
		time.Sleep(reconnectWait) // the server is away, and what waits for it is all there is room for
		err = nc.PublishMsg(msg)
	}
	if err != nil {
		log.Error("answer not sent", "error", err)
	}
}

// redact hides passwords and tokens in a comma-separated list of server URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, one := range list {
		if at := strings.LastIndexByte(one, '@'); at >= 0 {
			scheme, _, found := strings.Cut(one, "://")
			if !found {
				scheme = "nats"
			}
			list[i] = scheme + "://***@" + one[at+1:]
		}
	}
	return strings.Join(list, ",")
}
