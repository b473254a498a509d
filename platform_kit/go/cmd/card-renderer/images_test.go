package main

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/internal/natstest"
)

func TestAPictureIsStoredOnce(t *testing.T) {
	_, js := natstest.StartJetStream(t)
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
