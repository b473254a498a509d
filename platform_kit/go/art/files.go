package art

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/assets"
)

const (
	// Stream keeps what was made, one message a digest.
	Stream  = "ASSET_FILES"
	subject = "assets.files."
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

// Put stores a file. Storing the same twice is storing it once.
func (f *Files) Put(ctx context.Context, file *File, kind string) error {
	return assets.Keep(ctx, f.js, subject+file.Digest, file.data, kind)
}

// Get fetches a file by its digest.
func (f *Files) Get(ctx context.Context, digest string) (data []byte, err error) {
	err = assets.Again(ctx, "the file cannot be fetched", func(ctx context.Context) (bool, error) {
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
