// Command card-renderer is the worker that draws cards.
//
// A request names everything by digest: the template and the art are fetched from the object store and kept, the
// picture is stored in the stream CARD_IMAGES under its own digest, and the answer is a small JSON object.
package main

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/assets"
	"platform-kit/worker"
)

const (
	name    = "card-renderer"
	version = "0.1.0"

	// assetBudget bounds the art and fonts kept as they came; what is drawn of them has budgets of its own.
	assetBudget = 16 << 20
)

func main() {
	worker.MainWith(name, func(p worker.Platform) (worker.Handler, error) {
		if p.NATS == nil {
			return nil, errors.New("templates and pictures are kept in NATS: give --nats URL or set PLATFORM_NATS_URL")
		}
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
	}, worker.Version(version))
}
