package assets

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func startJetStream(t *testing.T) (*server.Server, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return s, js
}

func TestFromJetStream(t *testing.T) {
	s, js := startJetStream(t)
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
