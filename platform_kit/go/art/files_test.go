package art

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAFileIsStoredOnceAndFetchedByItsDigest(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	files, err := NewFiles(nc)
	if err != nil {
		t.Fatal(err)
	}
	file := newFile([]byte("a picture"), 1, 1)

	// Without the stream nothing is stored, and the asker is told so when its time is over.
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := files.Put(short, file, "image/png"); err == nil {
		t.Fatal("stored without a stream")
	}
	js, _ := jetstream.New(nc)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: Stream, Subjects: []string{subject + "*"}, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := files.Put(t.Context(), file, "image/png"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Fatalf("%d messages, want 1: %v", info.State.Msgs, err)
	}
	if data, err := files.Get(t.Context(), file.Digest); err != nil || string(data) != "a picture" {
		t.Fatalf("got %q, %v", data, err)
	}
	if _, err := files.Get(t.Context(), newFile([]byte("another"), 1, 1).Digest); !errors.Is(err, ErrGone) {
		t.Fatalf("got %v", err)
	}
	if _, err := js.Publish(t.Context(), subject+newFile([]byte("x"), 1, 1).Digest, []byte("not x")); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Get(t.Context(), newFile([]byte("x"), 1, 1).Digest); err == nil || errors.Is(err, ErrGone) {
		t.Fatalf("other bytes were taken: %v", err)
	}
}
