package main

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"platform-kit/assets"
)

const imageSubject = "cards.images."

// imageStream keeps pictures in the stream CARD_IMAGES, one message a digest.
type imageStream struct{ js jetstream.JetStream }

// store keeps data under its digest. Storing the same picture twice is storing it once.
func (s imageStream) store(ctx context.Context, digest string, data []byte) error {
	return assets.Keep(ctx, s.js, imageSubject+digest, data, "image/png")
}
