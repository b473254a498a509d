// Package render draws trading cards.
//
// A [Template] is made once from a bundle, the canonical JSON that
// platform_kit.cards.template writes, and renders any number of cards, from
// any number of goroutines at once:
//
//	tpl, err := render.Parse(bundle, fetch)
//	out, err := tpl.Render(ctx, render.Card{ID: "dragon-1", Fields: fields, Seed: 7})
//
// The same template, card and seed always give the same bytes.
package render

import (
	"context"
	"fmt"
	"time"
)

// Card is everything that decides one picture, the template aside.
type Card struct {
	ID      string         // decides procedural art, together with Seed
	Fields  map[string]any // the deck's columns: strings and JSON scalars
	Derived map[string]any // what the pipeline worked out: "rarity" and "type" keys, "cost" symbols
	Art     []byte         // the art's file, or nil for procedural art
	ArtType string         // "svg", "png", "jpeg" or "webp"; what Art is
	// ArtDigest is the SHA-256 of Art in lower case hex, or "" to have it worked out. It has to be right: art with
	// the same digest is taken to be the same.
	ArtDigest string
	// OpenArt gives Art if that is nil, should anything of it have to be drawn: it seldom has where other cards have the
	// same. It needs ArtDigest. Its error is returned wrapped.
	OpenArt func(ctx context.Context) ([]byte, error)
	Seed    int64
}

// hasArt tells whether there is art of the card's own.
func (c *Card) hasArt() bool { return len(c.Art) > 0 || c.OpenArt != nil }

// Output is a rendered card.
type Output struct {
	PNG           []byte
	Width, Height int
	Warnings      []string      // what a person should look at, e.g. glyphs no font has
	Draw, Encode  time.Duration // time taken
}

// RejectError says that a card cannot be rendered through its own fault, so
// that trying again is of no use. Every other error is the renderer's.
type RejectError struct {
	Column string // the deck's column at fault, or ""
	Reason string
}

func (e *RejectError) Error() string {
	if e.Column == "" {
		return e.Reason
	}
	return fmt.Sprintf("%s: %s", e.Column, e.Reason)
}
