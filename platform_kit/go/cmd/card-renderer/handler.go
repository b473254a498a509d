package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"platform-kit/render"
	"platform-kit/worker"
)

// maxImageBytes leaves room for headers below the server's max_payload of 8 MiB.
const maxImageBytes = 15 << 19

// renderer answers requests for cards.
type renderer struct {
	instance  string
	templates *templates
	images    interface {
		store(ctx context.Context, digest string, data []byte) error
	}
}

// reply is the answer to a card that was drawn.
type reply struct {
	Image     image              `json:"image"`
	Warnings  []string           `json:"warnings"`
	TimingsMS map[string]float64 `json:"timings_ms"`
	Worker    string             `json:"worker"`
}

type image struct {
	Digest string `json:"digest"`
	Bytes  int    `json:"bytes"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

func (r *renderer) handle(ctx context.Context, in worker.Request) (worker.Response, error) {
	req, column, err := decodeRequest(in.Data)
	if err != nil {
		return worker.Response{}, worker.Reject(column, err.Error())
	}

	started := time.Now()
	tpl, err := r.templates.get(ctx, req.Template)
	if err != nil {
		return worker.Response{}, err
	}
	card := render.Card{ID: req.ID, Fields: req.Card, Derived: req.Derived,
		ArtType: req.ArtType, ArtDigest: req.Art, Seed: req.Seed}
	fetched := time.Since(started)
	var noArt error
	if req.Art != "" {
		card.OpenArt = func(ctx context.Context) (data []byte, err error) {
			defer func(from time.Time) { fetched += time.Since(from) }(time.Now())
			data, noArt = r.templates.assets.Get(ctx, req.Art)
			return data, noArt
		}
	}

	out, err := tpl.Render(ctx, card)
	switch {
	case noArt != nil:
		return worker.Response{}, assetError("art", "art", noArt)
	case err != nil:
		return worker.Response{}, renderError(err)
	}
	if len(out.PNG) > maxImageBytes {
		return worker.Response{}, worker.Reject("", fmt.Sprintf(
			"the picture has %d bytes, more than the limit of %d; art with less detail or a smaller template helps",
			len(out.PNG), maxImageBytes))
	}
	sum := sha256.Sum256(out.PNG)
	digest := hex.EncodeToString(sum[:])

	storing := time.Now()
	if err := r.images.store(ctx, digest, out.PNG); err != nil {
		return worker.Response{}, worker.Unavailable(err)
	}
	warnings := out.Warnings
	if warnings == nil {
		warnings = []string{} // a list in JSON, never null
	}
	data, err := json.Marshal(reply{
		Image:    image{Digest: digest, Bytes: len(out.PNG), Width: out.Width, Height: out.Height},
		Warnings: warnings,
		TimingsMS: map[string]float64{
			"fetch": milliseconds(fetched), "draw": milliseconds(out.Draw),
			"encode": milliseconds(out.Encode), "store": milliseconds(time.Since(storing)),
		},
		Worker: r.instance,
	})
	return worker.Response{Data: data}, err
}

// renderError sorts a failure of drawing: the card's fault, a missing font, or the renderer's own.
func renderError(err error) error {
	var reject *render.RejectError
	switch {
	case errors.As(err, &reject):
		return worker.Reject(reject.Column, reject.Reason)
	case isAssetError(err):
		return assetError("", "template", err)
	default:
		return err
	}
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
