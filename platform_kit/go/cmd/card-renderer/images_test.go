package main

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAPictureIsStoredOnce(t *testing.T) {
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
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	images := imageStream{js}

	// Without the stream nothing is stored, and the card is told so when its time is over.
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := images.store(short, zeros, []byte("png")); err == nil {
		t.Fatal("stored without a stream")
	}

	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CARD_IMAGES", Subjects: []string{imageSubject + "*"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := images.store(t.Context(), zeros, []byte("png")); err != nil {
			t.Fatal(err)
		}
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != 1 {
		t.Fatalf("%d messages, want 1: %v", info.State.Msgs, err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), imageSubject+zeros)
	if err != nil || string(msg.Data) != "png" || msg.Header.Get("Content-Type") != "image/png" {
		t.Fatalf("got %v, %v", msg, err)
	}
}
