package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	imageSubject = "cards.images."
	// storeAttempt bounds one wait for an acknowledgement; a server that was restarted has forgotten ours.
	storeAttempt = time.Second
	storePause   = 50 * time.Millisecond
)

// imageStream keeps pictures in the stream CARD_IMAGES, one message a digest.
type imageStream struct{ js jetstream.JetStream }

// store keeps data under its digest. Storing the same picture twice is storing it once, so a lost
// acknowledgement is followed by another attempt until ctx ends.
func (s imageStream) store(ctx context.Context, digest string, data []byte) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, storeAttempt)
		_, err := s.publish(attempt,
			&nats.Msg{Subject: imageSubject + digest, Data: data, Header: nats.Header{"Content-Type": {"image/png"}}},
			jetstream.WithExpectLastSequencePerSubject(0),
		)
		cancel()
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused):
			if refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
				return nil // already there
			}
			return fmt.Errorf("the picture is not stored: %w", err)
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("the picture is not stored: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the picture is not stored: %w", err)
		case <-time.After(storePause):
		}
	}
}

// publish sends nothing while the server is away: what waits to be sent has little room, and answers need it.
func (s imageStream) publish(ctx context.Context, msg *nats.Msg, options ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if !s.js.Conn().IsConnected() {
		return nil, nats.ErrConnectionReconnecting
	}
	return s.js.PublishMsg(ctx, msg, options...)
}
