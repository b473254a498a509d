package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func digestOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// shelf is a source over a map that counts how often it is asked.
func shelf(objects map[string]string, asked *atomic.Int64) Source {
	return func(_ context.Context, digest string) ([]byte, error) {
		asked.Add(1)
		data, ok := objects[digest]
		if !ok {
			return nil, ErrNotFound
		}
		return []byte(data), nil
	}
}

func TestGetFetchesOnceAndKeeps(t *testing.T) {
	var asked atomic.Int64
	s := New(shelf(map[string]string{digestOf("art"): "art"}, &asked), 100)
	for range 3 {
		data, err := s.Get(t.Context(), digestOf("art"))
		if err != nil || string(data) != "art" {
			t.Fatalf("got %q, %v", data, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked the source %d times, want 1", n)
	}
}

func TestGetSharesOneFetch(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	inner := shelf(map[string]string{digestOf("font"): "font"}, &asked)
	s := New(func(ctx context.Context, digest string) ([]byte, error) {
		<-release
		return inner(ctx, digest)
	}, 0) // nothing is kept, so that sharing alone explains one fetch
	var started, finished sync.WaitGroup
	for range 20 {
		started.Add(1)
		finished.Go(func() {
			ctx := &announcing{Context: t.Context(), announce: sync.OnceFunc(started.Done)}
			if data, err := s.Get(ctx, digestOf("font")); err != nil || string(data) != "font" {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
	started.Wait() // all twenty wait for the flight
	close(release)
	finished.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked the source %d times, want 1", n)
	}
}

// announcing tells when somebody starts to wait for its end.
type announcing struct {
	context.Context
	announce func()
}

func (c *announcing) Done() <-chan struct{} {
	c.announce()
	return c.Context.Done()
}

func TestGetOutlivesAnImpatientRequest(t *testing.T) {
	release := make(chan struct{})
	s := New(func(context.Context, string) ([]byte, error) {
		<-release
		return []byte("slow"), nil
	}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, digestOf("slow")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want unavailable and cancelled", err)
	}
	close(release)
	if data, err := s.Get(t.Context(), digestOf("slow")); err != nil || string(data) != "slow" {
		t.Fatalf("got %q, %v", data, err)
	}
}

func TestGetRefusesWhatDoesNotHashToItsName(t *testing.T) {
	var asked atomic.Int64
	name := digestOf("what was promised")
	s := New(shelf(map[string]string{name: "something else"}, &asked), 100)
	for range 2 {
		if data, err := s.Get(t.Context(), name); !errors.Is(err, ErrDamaged) || data != nil {
			t.Fatalf("got %q, %v", data, err)
		}
	}
	if _, err := s.Get(t.Context(), digestOf("nothing")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked the source %d times, want 3: failures are not kept", n)
	}
}

func TestLRUStaysWithinItsBudget(t *testing.T) {
	var l lru
	l.add("a", make([]byte, 40), 100)
	l.add("b", make([]byte, 40), 100)
	l.get("a")
	l.add("c", make([]byte, 40), 100) // b was used longest ago
	l.add("huge", make([]byte, 101), 100)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "huge": false} {
		if _, ok := l.get(key); ok != want {
			t.Errorf("%s kept: %v, want %v", key, ok, want)
		}
	}
	if l.bytes != 80 || l.order.Len() != 2 || len(l.byKey) != 2 {
		t.Errorf("%d bytes in %d entries, %d keys", l.bytes, l.order.Len(), len(l.byKey))
	}
}

func TestGetAsksAgainWhenAnAttemptHangs(t *testing.T) {
	content := "a font"
	digest := digestOf(content)
	var calls atomic.Int32
	store := New(func(ctx context.Context, _ string) ([]byte, error) {
		if calls.Add(1) == 1 {
			<-ctx.Done() // chunks of a killed server never come
			return nil, ctx.Err()
		}
		return []byte(content), nil
	}, 1<<20)
	store.timeouts = []time.Duration{10 * time.Millisecond, 5 * time.Second}
	data, err := store.Get(context.Background(), digest)
	if err != nil || string(data) != content {
		t.Fatalf("got %q, %v", data, err)
	}
	if calls.Load() != 2 {
		t.Errorf("asked %d times, want 2", calls.Load())
	}
}
