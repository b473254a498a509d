package assets

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/internal/natstest"
)

func TestFromJetStream(t *testing.T) {
	s, js := natstest.StartJetStream(t)
	store := New(FromJetStream(js), 1<<20)
	art := bytes.Repeat([]byte("pixels "), 60_000) // several chunks
	digest := digestOf(string(art))

	// No bucket yet: whoever makes it comes later, so this is no answer about the object.
	if _, err := store.Get(t.Context(), digest); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("without a bucket: %v, want ErrUnavailable", err)
	}
	bucket, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: Bucket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), digest); !errors.Is(err, ErrNotFound) {
		t.Fatalf("without the object: %v, want ErrNotFound", err)
	}
	if _, err := bucket.PutBytes(t.Context(), digest, art); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Get(t.Context(), digest); err != nil || !bytes.Equal(data, art) {
		t.Fatalf("got %d bytes, %v", len(data), err)
	}
	wrong := digestOf("something else")
	if _, err := bucket.PutBytes(t.Context(), wrong, art); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), wrong); !errors.Is(err, ErrDamaged) {
		t.Fatalf("under a wrong name: %v, want ErrDamaged", err)
	}

	s.Shutdown()
	s.WaitForShutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Get(ctx, digestOf("another")); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("without a server: %v, want ErrUnavailable", err)
	}
	if data, err := store.Get(t.Context(), digest); err != nil || !bytes.Equal(data, art) {
		t.Fatalf("what was kept: %d bytes, %v", len(data), err)
	}
}
