package components

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/redpanda-data/benthos/v4/public/service"

	"platform-kit/worker"
)

// newAsker makes the processor; more is further YAML.
func newAsker(t *testing.T, url, more string) *askWorker {
	t.Helper()
	conf, err := askWorkerSpec().ParseYAML(fmt.Sprintf("urls: [ %q ]\nworker: shout\n%s", url, more), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newAskWorker(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// answers subscribes as a worker.
func answers(t *testing.T, nc *nats.Conn, answer func(*nats.Msg)) *nats.Subscription {
	t.Helper()
	sub, err := nc.QueueSubscribe("workers.shout", "workers", func(m *nats.Msg) { go answer(m) })
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	return sub
}

func ask(t *testing.T, p *askWorker, body string) (text, code string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	batch, err := p.Process(ctx, service.NewMessage([]byte(body)))
	if err != nil {
		return "", "", err
	}
	if len(batch) != 1 {
		t.Fatalf("%d messages for one", len(batch))
	}
	data, _ := batch[0].AsBytes()
	code, _ = batch[0].MetaGet(micro.ErrorCodeHeader)
	return string(data), code, nil
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(limit):
		t.Fatalf("nothing came within %v", limit)
		panic("unreachable")
	}
}

func refuse(m *nats.Msg, code, why string) {
	_ = m.RespondMsg(&nats.Msg{Header: nats.Header{micro.ErrorCodeHeader: {code}, micro.ErrorHeader: {why}}, Data: []byte(`{"column":null,"reason":"` + why + `"}`)})
}

func TestAnAnswerReplacesTheMessage(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	answers(t, nc, func(m *nats.Msg) {
		if m.Header.Get(worker.TimeoutHeader) != "2m0s" || m.Header.Get("Colour") != "blue" {
			t.Errorf("headers %v", m.Header)
		}
		// Some clients answer with the headers they were asked with; that is no sign of life.
		_ = m.RespondMsg(&nats.Msg{Header: m.Header, Data: []byte(strings.ToUpper(string(m.Data)))})
	})
	p := newAsker(t, s.ClientURL(), "headers: { Colour: blue }")
	for _, word := range []string{"heron", "owl", ""} {
		text, code, err := ask(t, p, word)
		if err != nil || code != "" || text != strings.ToUpper(word) {
			t.Errorf("%q: %q, code %q, error %v", word, text, code, err)
		}
	}
}

func TestAFailureOfTheWorkerIsAnAnswer(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	answers(t, nc, func(m *nats.Msg) { refuse(m, string(m.Data), "too blue") })
	p := newAsker(t, s.ClientURL(), "")
	for _, code := range []string{worker.CodeRejected, worker.CodeFailed, worker.CodeDeadline} {
		text, got, err := ask(t, p, code)
		if err != nil || got != code || !strings.Contains(text, "too blue") {
			t.Errorf("%s: %q, code %q, error %v", code, text, got, err)
		}
	}
}

func TestAMessageIsHeldUntilSomebodyWorksOnIt(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	p := newAsker(t, s.ClientURL(), "wait_for_worker: 10s")
	var asked atomic.Int32
	arrived := make(chan struct{})
	go func() {
		<-arrived
		answers(t, nc, func(m *nats.Msg) {
			if asked.Add(1) < 3 {
				refuse(m, worker.CodeUnavailable, "the bucket is away")
				return
			}
			_ = m.Respond([]byte("done"))
		})
	}()
	time.AfterFunc(200*time.Millisecond, func() { close(arrived) }) // until then there is nobody
	text, code, err := ask(t, p, "x")
	if err != nil || text != "done" || code != "" || asked.Load() != 3 {
		t.Errorf("%q, code %q, error %v, asked %d times", text, code, err, asked.Load())
	}
}

func TestWaitingForAWorkerHasAnEnd(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	p := newAsker(t, s.ClientURL(), "wait_for_worker: 150ms")
	_, _, err := ask(t, p, "x")
	if err == nil || !strings.Contains(err.Error(), "no worker shout is there; gave up after 150ms") {
		t.Errorf("error %v", err)
	}
}

func TestASlowWorkerIsWaitedForAndASilentOneIsNot(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	answers(t, nc, func(m *nats.Msg) {
		if string(m.Data) != "slow" {
			if string(m.Data) == "die" {
				_ = m.RespondMsg(&nats.Msg{Header: nats.Header{worker.WorkingHeader: {worker.Running}}})
			}
			return
		}
		every, err := time.ParseDuration(m.Header.Get(worker.ProgressHeader))
		if err != nil {
			t.Error(err)
		}
		for range 10 {
			time.Sleep(every)
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{worker.WorkingHeader: {worker.Waiting}}})
		}
		_ = m.Respond([]byte("at last"))
	})
	p := newAsker(t, s.ClientURL(), "silence: 300ms\nattempts: 1\nwait_for_worker: 100ms")
	text, code, err := ask(t, p, "slow") // takes a second, three times the silence
	if err != nil || code != "" || text != "at last" {
		t.Errorf("slow: %q, code %q, error %v", text, code, err)
	}
	text, code, err = ask(t, p, "die")
	if err != nil || code != worker.CodeDeadline || !strings.Contains(text, "not heard of for 300ms") {
		t.Errorf("silent: %q, code %q, error %v", text, code, err)
	}
	// What was not begun was not tried, whatever became of the worker.
	if _, code, err = ask(t, p, "die in the queue"); err == nil || !strings.Contains(err.Error(), "gone before it began") {
		t.Errorf("silent before it began: code %q, error %v", code, err)
	}
}

func TestAWorkerThatFailsIsAskedSoOftenAndNoMore(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	var asked atomic.Int32
	answers(t, nc, func(m *nats.Msg) {
		switch n := asked.Add(1); {
		case n%2 == 0:
			refuse(m, worker.CodeUnavailable, "away for a moment") // counts for nothing
		case n < 5 || string(m.Data) == "poison":
			refuse(m, worker.CodeFailed, "boom")
		default:
			_ = m.Respond([]byte("done"))
		}
	})
	p := newAsker(t, s.ClientURL(), "attempts: 3")
	for body, want := range map[string]string{"mends": "done", "poison": `{"column":null,"reason":"boom"}`} {
		asked.Store(0)
		batch, err := p.Process(t.Context(), service.NewMessage([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := batch[0].AsBytes()
		tried, _ := batch[0].MetaGet(attemptsKey)
		if string(text) != want || tried != "3" || asked.Load() != 5 {
			t.Errorf("%s: %q after %s attempts, asked %d times", body, text, tried, asked.Load())
		}
	}
}

func TestABurstOfSignsLeavesRoomForTheAnswer(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	answers(t, nc, func(m *nats.Msg) {
		for range 9 {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{worker.WorkingHeader: {worker.Running}}})
		}
		_ = m.Respond([]byte("ok"))
	})
	p := newAsker(t, s.ClientURL(), "silence: 2s\nattempts: 1")
	codes := make(chan string, 200)
	for range cap(codes) {
		go func() {
			_, code, err := ask(t, p, "x")
			codes <- fmt.Sprint(code, err)
		}()
	}
	for range cap(codes) {
		if got := receive(t, codes); got != "<nil>" {
			t.Fatal(got)
		}
	}
}

func TestARequestTheServerCannotTakeIsRejected(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	p := newAsker(t, s.ClientURL(), "")
	if _, code, err := ask(t, p, strings.Repeat("x", 1<<20+1)); err != nil || code != worker.CodeRejected {
		t.Errorf("code %q, error %v", code, err)
	}
}

func TestAnAnswerThatComesTooLateIsNobodyElses(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	late := make(chan *nats.Msg, 1)
	answers(t, nc, func(m *nats.Msg) {
		if string(m.Data) == "first" {
			late <- m
			return
		}
		_ = (<-late).Respond([]byte("late"))
		_ = m.Respond(m.Data)
	})
	p := newAsker(t, s.ClientURL(), "silence: 100ms\nwait_for_worker: 50ms")
	if _, code, err := ask(t, p, "first"); err == nil {
		t.Fatalf("code %q, no error", code)
	}
	if text, _, err := ask(t, p, "second"); err != nil || text != "second" {
		t.Errorf("%q, error %v", text, err)
	}
	if len(p.waiting) != 0 {
		t.Errorf("%d requests are remembered for ever", len(p.waiting))
	}
}

func TestTheEndOfThePipelineEndsTheWait(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	p := newAsker(t, s.ClientURL(), "")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := p.Process(ctx, service.NewMessage(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTheServerMayStartLaterAndComeBack(t *testing.T) {
	dir := t.TempDir()
	first := startServer(t, dir, -1)
	port, url := portOf(first), first.ClientURL()
	first.Shutdown()
	first.WaitForShutdown()

	p := newAsker(t, url, "silence: 500ms")
	done := make(chan string, 1)
	go func() {
		text, code, err := ask(t, p, "x")
		done <- fmt.Sprint(text, code, err)
	}()
	second := startServer(t, dir, port)
	nc, _ := dial(t, second)
	var requests atomic.Int32
	held := make(chan *nats.Msg, 8)
	answers(t, nc, func(m *nats.Msg) { requests.Add(1); held <- m })
	m := receive(t, held)
	// The request is taken, and the server goes and comes back; the answer finds its way.
	second.Shutdown()
	second.WaitForShutdown()
	third := startServer(t, dir, port)
	eventually(t, "the worker's return", nc.IsConnected)
	eventually(t, "the asker's return", func() bool { return p.nc.IsConnected() && third.NumSubscriptions() > 0 })
	if err := p.nc.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	_ = m.Respond([]byte("here"))
	if got := receive(t, done); got != "here<nil>" {
		t.Errorf("%s", got)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	for _, more := range []string{"worker: 'a b'", "worker: ''", "worker: a.>", "worker: a\nsilence: 0s", "worker: a\ntimeout: never"} {
		conf, err := askWorkerSpec().ParseYAML("urls: [ nats://127.0.0.1:1 ]\n"+more, nil)
		if err != nil {
			continue
		}
		if p, err := newAskWorker(conf, service.MockResources()); err == nil {
			_ = p.Close(context.Background())
			t.Errorf("%q was taken", more)
		}
	}
}
