package render

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"platform-kit/render/internal/vg"
)

// Template draws cards of one design. It is safe for concurrent use.
type Template struct {
	bundle   *bundle
	segments []segment
	type_    *typesetter
	assets   map[string][]byte
	names    []string // of the font families, sorted
	id       templateID
	kept     *kept
}

// Parse makes a template from its bundle. fetch returns the file with a given
// SHA-256 (lower case hex); it has to be safe for concurrent use and may be
// called until the template is no longer used, because a font is fetched when
// a card first needs it. fetch's errors are returned wrapped.
func Parse(data []byte, fetch func(digest string) ([]byte, error)) (*Template, error) {
	return parseWith(data, fetch, shared)
}

func parseWith(data []byte, fetch func(digest string) ([]byte, error), keep *kept) (*Template, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("render: template: %w", err)
	}
	if err := b.checkColors(); err != nil {
		return nil, fmt.Errorf("render: template %s: %w", b.Name, err)
	}
	t := &Template{
		bundle: b, assets: map[string][]byte{}, segments: segments(b.Layers), id: newTemplateID(), kept: keep,
	}
	t.type_ = newTypesetter(b, fetch, t.id, keep)
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
		return nil, d.failed(err)
	}
	if len(d.missing) > 0 {
		d.warnOnce(missingWarning(d.missing))
	}
	laid := time.Now()
	data, err := t.kept.png.Encode(d, t.bundle.Width, t.bundle.Height, t.bundle.DPI)
	if err != nil {
		return nil, d.failed(err)
	}
	d.close()
	return &Output{
		PNG: data, Width: t.bundle.Width, Height: t.bundle.Height, Warnings: d.warnings,
		Draw: laid.Sub(started) + d.took, Encode: time.Since(laid) - d.took,
	}, nil
}

// failed says which card an error is of, unless it is the card's own fault.
func (d *drawing) failed(err error) error {
	var reject *RejectError
	if errors.As(err, &reject) {
		return err
	}
	return fmt.Errorf("render: card %q: %w", d.card.ID, err)
}
