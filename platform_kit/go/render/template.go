package render

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"platform-kit/render/internal/vg"
)

// Memory a template may keep, in bytes.
const (
	sheetsLimit   = 96 << 20
	picturesLimit = 96 << 20
	shapesLimit   = 32 << 20
)

// Template draws cards of one design. It is safe for concurrent use.
type Template struct {
	bundle   *bundle
	segments []segment
	type_    *typesetter
	assets   map[string][]byte
	sheets   *cache[sheetKey, *sheet]
	pictures *cache[pictureKey, *vg.Canvas]
	shapes   *cache[*layer, *shapeMasks]
	spare    sync.Pool // of *vg.Canvas, of cards that are done
	names    []string  // of the font families, sorted
}

// Parse makes a template from its bundle. fetch returns the file with a given
// SHA-256 (lower case hex); it has to be safe for concurrent use and may be
// called until the template is no longer used, because a font is fetched when
// a card first needs it. fetch's errors are returned wrapped.
func Parse(data []byte, fetch func(digest string) ([]byte, error)) (*Template, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("render: template: %w", err)
	}
	if err := b.checkColors(); err != nil {
		return nil, fmt.Errorf("render: template %s: %w", b.Name, err)
	}
	t := &Template{
		bundle: b, type_: newTypesetter(b, fetch), assets: map[string][]byte{},
		sheets:   newCache[sheetKey, *sheet](sheetsLimit),
		segments: segments(b.Layers),
		pictures: newCache[pictureKey, *vg.Canvas](picturesLimit),
		shapes:   newCache[*layer, *shapeMasks](shapesLimit),
	}
	for i := range t.segments {
		if seg := &t.segments[i]; seg.static {
			seg.styles = b.stylesOf(seg.layers)
		}
	}
	for name := range b.Fonts {
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	for _, a := range b.assets() {
		if _, ok := t.assets[a.Digest]; ok {
			continue
		}
		if t.assets[a.Digest], err = fetch(a.Digest); err != nil {
			return nil, fmt.Errorf("render: template %s: image %s: %w", b.Name, a.Digest, err)
		}
	}
	return t, nil
}

// assets lists the images of layers and icons.
func (b *bundle) assets() []*asset {
	var out []*asset
	for _, set := range b.Icons {
		for _, ic := range append(slices.Clone(set.Symbols), set.Default) {
			if ic != nil && ic.Image != nil {
				out = append(out, ic.Image)
			}
		}
	}
	var visit func(layers []*layer)
	visit = func(layers []*layer) {
		for _, l := range layers {
			if l.Kind == "image" {
				out = append(out, l.Image)
			}
			visit(l.Layers)
		}
	}
	visit(b.Layers)
	return out
}

// font returns the family that resembles a CSS font-family most.
func (t *Template) font(css string) string {
	for _, want := range strings.Split(css, ",") {
		want = strings.Trim(strings.TrimSpace(want), `"'`)
		for _, name := range t.names {
			if strings.EqualFold(name, want) {
				return name
			}
		}
	}
	if slices.Contains(t.names, "body") || len(t.names) == 0 {
		return "body"
	}
	return t.names[0]
}

// Render draws a card and encodes it as PNG. An error of type *[RejectError] is
// the card's own fault.
func (t *Template) Render(ctx context.Context, card Card) (out *Output, err error) {
	defer func() { // a damaged font or picture must not end the process
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("render: card %q: %v\n%s", card.ID, r, debug.Stack())
		}
	}()
	started := time.Now()
	d := &drawing{ctx: ctx, tpl: t, card: &card, look: t.bundle.look(&card), lang: card.tongue(),
		opacity: 1, named: map[string]vg.Rect{}}
	if err := d.run(); err != nil {
		var reject *RejectError
		if errors.As(err, &reject) {
			return nil, err
		}
		return nil, fmt.Errorf("render: card %q: %w", card.ID, err)
	}
	if len(d.missing) > 0 {
		d.warn("%s", missingWarning(d.missing))
	}
	drawn := time.Now()
	data, err := encodePNG(d.canvas, t.bundle.DPI)
	if err != nil {
		return nil, fmt.Errorf("render: card %q: %w", card.ID, err)
	}
	defer t.spare.Put(d.canvas)
	return &Output{
		PNG: data, Width: d.canvas.W, Height: d.canvas.H, Warnings: d.warnings,
		Draw: drawn.Sub(started), Encode: time.Since(drawn),
	}, nil
}
