// Command art-worker prepares pictures: it fetches a source by digest, makes a normal form and a thumbnail, packs
// thumbnails into atlas pages, stores each file under its own digest, and answers with a small JSON object.
package main

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/art"
	"platform-kit/assets"
	"platform-kit/worker"
)

const (
	name    = "art-worker"
	version = "0.1.0"
	// sourceBudget keeps a source for the next attempt; a picture is rarely asked for twice.
	sourceBudget = 32 << 20
)

func main() {
	art.LimitMemory()
	worker.MainWith(name, func(p worker.Platform) (worker.Handler, error) {
		if p.NATS == nil {
			return nil, errors.New("it fetches pictures from NATS and stores them there: give --nats and --nkey")
		}
		js, err := jetstream.New(p.NATS)
		if err != nil {
			return nil, err
		}
		files, err := art.NewFiles(p.NATS)
		if err != nil {
			return nil, err
		}
		h := &handler{
			instance: p.Instance,
			sources:  assets.New(assets.FromJetStream(js), sourceBudget),
			files:    files,
			studio:   art.NewStudio(),
		}
		return h.handle, nil
	}, worker.Version(version))
}
