package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCaller(t *testing.T) {
	var logged []string
	c := NewCaller(func(ctx context.Context, req Request) (Response, error) {
		switch string(req.Data) {
		case "reject":
			return Response{}, Reject("art", "not a picture")
		case "panic":
			panic("boom")
		case "exit":
			runtime.Goexit()
		case "obey":
			<-ctx.Done()
			return Response{}, ctx.Err()
		}
		return Response{Data: req.Data}, nil
	}, Limits{MaxRequestBytes: 100, Timeout: 10 * time.Millisecond}, func(value any, stack []byte) {
		logged = append(logged, fmt.Sprint(value, strings.Contains(string(stack), "caller_test.go")))
	})
	for data, want := range map[string]string{
		"": "", "hello": "", "reject": CodeRejected, "panic": CodeFailed, "exit": CodeFailed,
		"obey": CodeDeadline, strings.Repeat("x", 101): CodeRejected,
	} {
		res, err := c.Call(t.Context(), Request{Data: []byte(data)})
		switch {
		case want == "":
			if err != nil || string(res.Data) != data {
				t.Errorf("%q: got %q, %v", data, res.Data, err)
			}
		case err == nil || codeOf(err) != want:
			t.Errorf("%.10q: got %v, want code %s", data, err, want)
		}
	}
	if len(logged) != 1 || logged[0] != "boomtrue" {
		t.Errorf("logged %q", logged)
	}
}

func TestCallerAnswersForAHandlerThatHangsAndBoundsHowManyDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := NewCaller(func(context.Context, Request) (Response, error) {
			<-release
			return Response{}, nil
		}, Limits{}, nil)
		for range maxAbandoned {
			if _, err := c.Call(t.Context(), Request{}); codeOf(err) != CodeDeadline {
				t.Fatalf("got %v, want a passed deadline", err)
			}
		}
		if _, err := c.Call(t.Context(), Request{}); codeOf(err) != CodeUnavailable {
			t.Fatalf("got %v, want unavailable", err)
		}
		close(release)
		synctest.Wait() // they return after all
		if _, err := c.Call(t.Context(), Request{}); err != nil {
			t.Errorf("when they are done: %v", err)
		}
	})
}

func TestCallerEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	c := NewCaller(func(context.Context, Request) (Response, error) {
		cancel()
		<-release
		return Response{}, nil
	}, Limits{}, nil)
	if _, err := c.Call(ctx, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}
