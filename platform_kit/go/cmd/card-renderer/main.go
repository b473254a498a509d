// Command card-renderer is the worker that draws cards.
//
// A request names everything by digest: the template and the art are fetched from the object store and kept, the
// picture is stored in the stream CARD_IMAGES under its own digest, and the answer is a small JSON object.
package main

import (
	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/assets"
	"platform-kit/worker"
)

const (
	name    = "card-renderer"
	version = "0.1.0"

	// assetBudget bounds the art and fonts kept in memory.
	assetBudget = 96 << 20
)

func main() {
	worker.MainWith(name, version, func(p worker.Platform) (worker.Handler, error) {
		js, err := jetstream.New(p.NATS)
		if err != nil {
			return nil, err
		}
		r := &renderer{
			instance:  p.Instance,
			templates: newTemplates(assets.New(assets.FromJetStream(js), assetBudget)),
			images:    imageStream{js},
		}
		return r.handle, nil
	})
}
