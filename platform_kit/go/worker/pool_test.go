package worker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var discard = slog.New(slog.DiscardHandler)

var testLimits = Limits{Concurrency: 2, Queue: 2, MaxRequestBytes: 100, Timeout: time.Minute, Drain: time.Second}

// ask submits data and returns a channel with the error the answer came with.
func TestWhatAHandlerSaysAtItsDeadlineCounts(t *testing.T) {
	p := newPool(func(ctx context.Context, _ Request) (Response, error) {
		<-ctx.Done()
		return Response{}, Unavailable(ctx.Err()) // what it needs is away: that is no failure of the message
	}, Limits{Concurrency: 1, Queue: 4, MaxRequestBytes: 100, Timeout: 50 * time.Millisecond}, discard)
	defer p.stop(0)
	for range 10 {
		answered := make(chan error, 1)
		p.submit(Request{Received: time.Now()}, 10*time.Second, nil, func(_ Response, err error) { answered <- err })
		if code, _, _ := ErrorReply(<-answered); code != CodeUnavailable {
			t.Fatalf("code %s", code)
		}
	}
}

func ask(p *pool, data string, patience time.Duration) <-chan error {
	answered := make(chan error, 1)
	p.submit(Request{Data: []byte(data), Received: time.Now()}, patience, nil, func(_ Response, err error) { answered <- err })
	return answered
}

func codeOf(err error) string {
	code, _, _ := ErrorReply(err)
	return code
}

func TestErrorsBecomeCodes(t *testing.T) {
	p := newPool(func(ctx context.Context, req Request) (Response, error) {
		switch string(req.Data) {
		case "reject":
			return Response{}, Reject("art", "not a picture")
		case "away":
			return Response{}, Unavailable(errors.New("no bucket"))
		case "fail":
			return Response{}, errors.New("oh")
		case "hang":
			<-ctx.Done()
			return Response{}, ctx.Err()
		case "panic":
			panic("boom")
		}
		return Response{}, nil
	}, testLimits, discard)
	defer p.stop(time.Second)
	for data, want := range map[string]string{
		"reject": CodeRejected, "away": CodeUnavailable, "fail": CodeFailed, "panic": CodeFailed,
		strings.Repeat("x", 101): CodeRejected,
	} {
		if err := <-ask(p, data, 0); err == nil || codeOf(err) != want {
			t.Errorf("%.10q: got %v, want code %s", data, err, want)
		}
	}
	if err := <-ask(p, "hang", time.Millisecond); codeOf(err) != CodeDeadline && codeOf(err) != CodeUnavailable {
		t.Errorf("hang: got %v, want a passed deadline", err)
	}
	if err := <-ask(p, "fine", 0); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestADeafHandlerIsAnsweredForInTimeAndKeepsItsSlot(t *testing.T) {
	release := make(chan struct{})
	limits := testLimits
	limits.Concurrency = 1
	p := newPool(func(context.Context, Request) (Response, error) {
		<-release
		return Response{}, nil
	}, limits, discard)
	first := ask(p, "deaf", 20*time.Millisecond)
	if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a passed deadline", err)
	}
	second := ask(p, "next", 0)
	if s := p.stats(); s.Running != 1 || s.Waiting != 1 {
		t.Errorf("%d running and %d waiting, want 1 and 1", s.Running, s.Waiting)
	}
	close(release)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	p.stop(time.Second)
}

func TestTheQueueIsBounded(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{}, 10)
	p := newPool(func(context.Context, Request) (Response, error) {
		started <- struct{}{}
		<-release
		return Response{}, nil
	}, testLimits, discard)
	var accepted []<-chan error
	for range 2 {
		accepted = append(accepted, ask(p, "", 0))
		<-started // taken from the queue
	}
	for range 2 {
		accepted = append(accepted, ask(p, "", 0))
	}
	if err := <-ask(p, "", 0); codeOf(err) != CodeUnavailable {
		t.Errorf("the fifth of two running and two waiting: %v, want code %s", err, CodeUnavailable)
	}
	close(release)
	for _, answered := range accepted {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	p.stop(time.Second)
}

func TestARequestNobodyWaitsForIsNotWorkedOn(t *testing.T) {
	p := newPool(func(context.Context, Request) (Response, error) {
		t.Error("worked on")
		return Response{}, nil
	}, testLimits, discard)
	answered := make(chan error, 1)
	p.submit(Request{Received: time.Now().Add(-time.Second)}, time.Millisecond, nil, func(_ Response, err error) { answered <- err })
	if err := <-answered; codeOf(err) != CodeUnavailable {
		t.Errorf("got %v", err)
	}
	p.stop(time.Second)
}

func TestStopFinishesWhatWasAccepted(t *testing.T) {
	release := make(chan struct{})
	p := newPool(func(context.Context, Request) (Response, error) {
		<-release
		return Response{}, nil
	}, testLimits, discard)
	accepted := []<-chan error{ask(p, "", 0), ask(p, "", 0)}
	stopped := make(chan bool)
	go func() { stopped <- p.stop(time.Minute) }()
	close(release)
	if !<-stopped {
		t.Error("stop reports an unfinished request")
	}
	for _, answered := range accepted {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if err := <-ask(p, "", 0); codeOf(err) != CodeUnavailable {
		t.Errorf("after stop: %v, want code %s", err, CodeUnavailable)
	}
}

func TestStopGivesUpOnAHandlerThatHangs(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{}, 1)
	limits := testLimits
	limits.Concurrency = 1
	p := newPool(func(context.Context, Request) (Response, error) {
		started <- struct{}{}
		<-release
		return Response{}, nil
	}, limits, discard)
	hanging := ask(p, "", 0)
	<-started
	waiting := ask(p, "", 0)
	if p.stop(time.Millisecond) {
		t.Error("stop reports that everything is finished")
	}
	close(release)
	if err := <-hanging; codeOf(err) != CodeUnavailable {
		t.Errorf("what hung: %v, want code %s", err, CodeUnavailable)
	}
	if err := <-waiting; codeOf(err) != CodeUnavailable {
		t.Errorf("what waited: %v, want code %s", err, CodeUnavailable)
	}
}

func TestCountsAddUp(t *testing.T) {
	deaf := make(chan struct{})
	limits := testLimits
	limits.Concurrency, limits.Queue = 1, 1
	p := newPool(func(_ context.Context, req Request) (Response, error) {
		switch string(req.Data) {
		case "reject":
			return Response{}, Reject("", "no")
		case "exit":
			runtime.Goexit()
		case "deaf":
			<-deaf
		}
		return Response{}, nil
	}, limits, discard)
	for _, data := range []string{"fine", "reject", strings.Repeat("x", 101), "exit", "fine"} {
		<-ask(p, data, 0)
	}
	<-ask(p, "deaf", time.Millisecond) // answered for, and in work for ever
	waits := ask(p, "fine", 20*time.Millisecond)
	if err := <-ask(p, "fine", 0); codeOf(err) != CodeUnavailable {
		t.Errorf("above the queue: %v", err)
	}
	if err := <-waits; codeOf(err) != CodeUnavailable {
		t.Errorf("its deadline passed while it waited: %v", err)
	}
	// fine twice; the rejection and the large one; exit and deaf; the two refused
	want := poolStats{Requests: 8, Failed: 2, Rejected: 2, Refused: 2, Running: 1, Concurrency: 1}
	got := p.stats()
	got.BusySeconds, got.AverageMilli = 0, 0
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	close(deaf)
	if !p.stop(time.Minute) {
		t.Error("not finished")
	}
}

func FuzzErrorReply(f *testing.F) {
	f.Add("art", "not a picture\r\nNats-Service-Error-Code: 200")
	f.Add("", "")
	f.Add("\xff", strings.Repeat("日", 2000))
	f.Fuzz(func(t *testing.T, column, reason string) {
		code, description, body := ErrorReply(Reject(column, reason))
		if code != CodeRejected || description == "" || strings.ContainsAny(description, "\r\n\x00") || !utf8.ValidString(description) {
			t.Fatalf("code %q, description %q", code, description)
		}
		var fields struct{ Column, Reason *string }
		if err := json.Unmarshal(body, &fields); err != nil || fields.Reason == nil || *fields.Reason != description {
			t.Fatalf("body %s: %v", body, err)
		}
		if (fields.Column == nil) != (column == "") {
			t.Fatalf("column %q became %v", column, fields.Column)
		}
	})
}
