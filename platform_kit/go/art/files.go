package art

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Stream keeps what was made, one message a digest.
	Stream  = "ASSET_FILES"
	subject = "assets.files."
	// attempt bounds one wait for an answer; a server that was restarted has forgotten the question.
	attempt = time.Second
	pause   = 50 * time.Millisecond
)

// ErrGone says that the stream answered and does not have the file.
var ErrGone = errors.New("not in the stream " + Stream)

// Files are what was made, in the stream ASSET_FILES under their digest.
type Files struct {
	js jetstream.JetStream
	nc *nats.Conn
}

// NewFiles returns the files behind a connection.
func NewFiles(nc *nats.Conn) (*Files, error) {
	js, err := jetstream.New(nc)
	return &Files{js, nc}, err
}

// Put stores a file. Storing the same twice is storing it once, so a lost acknowledgement is followed by another
// attempt until ctx ends.
func (f *Files) Put(ctx context.Context, file *File, kind string) error {
	return again(ctx, "the file is not stored", func(ctx context.Context) (bool, error) {
		_, err := f.js.PublishMsg(ctx,
			&nats.Msg{Subject: subject + file.Digest, Data: file.data, Header: nats.Header{"Content-Type": {kind}}},
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

// Get fetches a file by its digest.
func (f *Files) Get(ctx context.Context, digest string) (data []byte, err error) {
	err = again(ctx, "the file cannot be fetched", func(ctx context.Context) (bool, error) {
		msg, err := f.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+Stream+"."+subject+digest, nil)
		if err != nil {
			return errors.Is(err, nats.ErrConnectionClosed), err
		}
		if status := msg.Header.Get("Status"); status != "" {
			return true, fmt.Errorf("%w: %.12s… (%s)", ErrGone, digest, status)
		}
		if sum := sha256.Sum256(msg.Data); hex.EncodeToString(sum[:]) != digest {
			return true, fmt.Errorf("%s holds other bytes under %.12s… than that digest", Stream, digest)
		}
		data = msg.Data
		return true, nil
	})
	return data, err
}

// again asks until there is an answer or ctx ends.
func again(ctx context.Context, what string, ask func(context.Context) (done bool, err error)) error {
	for {
		short, cancel := context.WithTimeout(ctx, attempt)
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
