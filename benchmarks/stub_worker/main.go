// Command stub-worker answers for the card renderer, draws nothing, and stores random bytes of a picture's size.
//
// What a run of it costs is the way through NATS and Wombat and nothing else. STUB_BYTES is the size of a picture.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/worker"
)

// marked is how many bytes differ from one picture to the next, so that each has a digest of its own.
const marked = 16

func main() {
	worker.MainWith("card-renderer", setup, worker.Version("0.0.1"))
}

func setup(p worker.Platform) (worker.Handler, error) {
	size, err := strconv.Atoi(os.Getenv("STUB_BYTES"))
	if err != nil || size < marked {
		return nil, fmt.Errorf("STUB_BYTES is %q, not a number of bytes", os.Getenv("STUB_BYTES"))
	}
	if p.NATS == nil {
		return nil, errors.New("give --nats URL or set PLATFORM_NATS_URL")
	}
	js, err := jetstream.New(p.NATS)
	if err != nil {
		return nil, err
	}
	noise := make([]byte, size)
	rand.Read(noise)
	pictures := sync.Pool{New: func() any { picture := append([]byte(nil), noise...); return &picture }}

	return func(ctx context.Context, _ worker.Request) (worker.Response, error) {
		kept := pictures.Get().(*[]byte)
		defer pictures.Put(kept)
		picture := *kept
		rand.Read(picture[:marked])
		sum := sha256.Sum256(picture)
		digest := hex.EncodeToString(sum[:])
		message := &nats.Msg{Subject: "cards.images." + digest, Data: picture, Header: nats.Header{"Content-Type": {"image/png"}}}
		if _, err := js.PublishMsg(ctx, message, jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
			return worker.Response{}, worker.Unavailable(err)
		}
		data, err := json.Marshal(map[string]any{
			"image":      map[string]any{"digest": digest, "bytes": size, "width": 750, "height": 1050},
			"warnings":   []string{},
			"timings_ms": map[string]float64{},
			"worker":     p.Instance,
		})
		return worker.Response{Data: data}, err
	}, nil
}
