package worker

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// asked sends one request and returns the messages that come, the answer being the last.
func asked(t *testing.T, nc *nats.Conn, header nats.Header) (signs int, answer *nats.Msg) {
	t.Helper()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishMsg(&nats.Msg{Subject: "workers.echo", Reply: inbox, Header: header, Data: []byte("heron")}); err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Header.Get(WorkingHeader) == "" {
			return signs, msg
		}
		if len(msg.Data) > 0 {
			t.Errorf("a sign of life has the body %q", msg.Data)
		}
		signs++
	}
}

func TestSignsOfLifeComeUntilTheAnswerAndOnlyIfAskedFor(t *testing.T) {
	r := newRoles(t)
	s := startServer(t, r, -1)
	release := make(chan struct{})
	p := start(t, func(_ context.Context, req Request) (Response, error) {
		<-release
		return Response{Data: req.Data}, nil
	}, "--nats", s.ClientURL(), "--nkey", r.workerSeed, "--concurrency", "1")
	p.waitReady(t)
	nc := connectAsker(t, s, r)

	// The handler is let go by the third sign: without signs there is no answer.
	third := make(chan struct{})
	var seen int
	watch, err := nc.Subscribe(nats.InboxPrefix+">", func(m *nats.Msg) {
		if m.Header.Get(WorkingHeader) == "" {
			return
		}
		if seen++; seen == 3 {
			close(third)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-third
		close(release)
	}()
	signs, answer := asked(t, nc, nats.Header{ProgressHeader: {"50ms"}})
	if signs < 3 || string(answer.Data) != "heron" {
		t.Errorf("%d signs of life, then %q", signs, answer.Data)
	}
	if err := watch.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	for _, header := range []nats.Header{nil, {ProgressHeader: {"soon"}}} {
		if signs, answer := asked(t, nc, header); signs != 0 || string(answer.Data) != "heron" {
			t.Errorf("%v: %d signs of life, then %q", header, signs, answer.Data)
		}
	}
	p.stop()
	if code := <-p.exit; code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
