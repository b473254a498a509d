package assets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tryFor bounds one wait for an answer; a server that was restarted has forgotten the question.
	tryFor = time.Second
	pause  = 50 * time.Millisecond
)

// Keep stores what was made in a stream, one message a subject, which ends in the digest of data. Storing the same
// twice is storing it once, so a lost acknowledgement is followed by another attempt until ctx ends.
func Keep(ctx context.Context, js jetstream.JetStream, subject string, data []byte, contentType string) error {
	return Again(ctx, "the file is not stored", func(ctx context.Context) (bool, error) {
		if nc := js.Conn(); nc.IsClosed() {
			return true, nats.ErrConnectionClosed
		} else if !nc.IsConnected() { // what waits to be sent has little room, and answers need it
			return false, nats.ErrConnectionReconnecting
		}
		_, err := js.PublishMsg(ctx,
			&nats.Msg{Subject: subject, Data: data, Header: nats.Header{"Content-Type": {contentType}}},
			jetstream.WithExpectLastSequencePerSubject(0),
		)
		var refused *jetstream.APIError
		switch {
		case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
			return true, nil // already there
		case errors.As(err, &refused), errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrConnectionClosed):
			return true, err
		}
		return err == nil, err
	})
}

// Again asks until there is an answer or ctx ends, and says what has failed.
func Again(ctx context.Context, what string, ask func(context.Context) (done bool, err error)) error {
	for {
		short, cancel := context.WithTimeout(ctx, tryFor)
		done, err := ask(short)
		cancel()
		switch {
		case err == nil:
			return nil
		case done:
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(pause):
		}
	}
}
