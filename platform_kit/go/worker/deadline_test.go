package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheHandlersContextIsAsAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept, child, silent context.Context
		var release context.CancelFunc // called when the child has ended by itself
		p := newPool(func(ctx context.Context, req Request) (Response, error) {
			expiry, ok := ctx.Deadline()
			if !ok || !expiry.Equal(req.Received.Add(time.Second)) || ctx.Err() != nil || ctx.Value(t) != nil {
				t.Errorf("deadline %v, %v; error %v", expiry, ok, ctx.Err())
			}
			switch string(req.Data) {
			case "wait":
				derived, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				<-derived.Done()
				return Response{}, derived.Err()
			case "return":
				kept = ctx
				child, release = context.WithCancel(ctx)
			default:
				silent = ctx
			}
			return Response{}, nil
		}, testLimits, discard)
		start := time.Now()
		if err := <-ask(p, "wait", time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		for _, data := range []string{"return", "say nothing"} {
			if err := <-ask(p, data, time.Second); err != nil {
				t.Error(err)
			}
		}
		<-kept.Done()
		<-child.Done()
		<-silent.Done() // asked for only now
		for _, ctx := range []context.Context{kept, child, silent} {
			if ctx.Err() != context.Canceled {
				t.Errorf("after the handler's return: %v", ctx.Err())
			}
		}
		time.Sleep(2 * time.Second) // the deadline changes nothing any more; this is the bubble's own time
		if kept.Err() != context.Canceled || p.stats().Failed != 1 {
			t.Errorf("%v, %+v", kept.Err(), p.stats())
		}
		release()
		p.stop(time.Second)
	})
}
