package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"

	xdraw "golang.org/x/image/draw"

	"platform-kit/render/internal/name"
	"platform-kit/render/internal/svg"
	"platform-kit/render/internal/vg"
)

// Limits of art.
const (
	maxArtBytes  = 32 << 20
	maxArtPixels = 40_000_000
)

// pictureKey names a picture: the file, and all that decides how it is drawn. The template counts because it has the
// fonts for text inside of an SVG.
type pictureKey struct {
	template  templateID
	digest    string
	kind, fit string
	w, h      int
	px, py    float64
	ink       vg.Color
}

// artwork is the element of a card that shows its own art, or procedural art where there is none.
type artwork struct {
	name    name.Name
	layer   *layer
	box     vg.Rect
	mask    *vg.Mask
	digest  string
	opacity float64
	under   vg.Paint // or nil
	pic     *picture // nil until it is needed
}

// art lays out an art layer.
func (d *drawing) art(l *layer, box vg.Rect) error {
	m, ok := d.tpl.kept.shapes.Get(l)
	if !ok {
		p := &vg.Path{}
		p.Rectangle(box, l.Radius, l.Radius)
		m = &shapeMasks{fill: vg.FillMask(p, vg.Identity, vg.NonZero, d.tpl.bundle.Width, d.tpl.bundle.Height)}
		d.tpl.kept.shapes.Put(l, m, len(m.fill.Pix)+100)
	}
	if m.fill.W == 0 {
		return nil
	}
	a := &artwork{layer: l, box: box, mask: m.fill, opacity: d.opacity}
	key := d.sign(l, box)
	if d.card.hasArt() {
		if a.digest = d.card.ArtDigest; a.digest == "" {
			a.digest = fmt.Sprintf("%x", sha256.Sum256(d.card.Art))
		}
		key.Text(d.card.ArtType)
		key.Text(a.digest)
	} else {
		key.Int(int(d.card.Seed))
		key.Text("") // no type of art
		key.Text(d.card.ID)
	}
	a.name = key.Done()
	d.elements = append(d.elements, a)
	return nil
}

func (a *artwork) sign(key *name.Builder, y0, y1 int) {
	if y0 < a.mask.Y+a.mask.H && a.mask.Y < y1 {
		key.Byte('a')
		key.Name(a.name)
		key.Int(y0)
	}
}

func (a *artwork) draw(d *drawing, c *vg.Canvas) error {
	if c.Top >= a.mask.Y+a.mask.H || a.mask.Y >= c.Top+c.H {
		return nil
	}
	if a.pic == nil {
		if err := a.open(d); err != nil {
			return err
		}
	}
	x, y := math.Floor(a.box.X), math.Floor(a.box.Y)
	if err := a.pic.need(c.Top-int(y), c.Top-int(y)+c.H); err != nil {
		return err
	}
	if a.under != nil {
		c.Paint(a.mask, a.under, nil, a.opacity)
	}
	c.Paint(a.mask, vg.NewPicture(a.pic.Canvas, vg.Translate(x, y), false), nil, a.opacity)
	return nil
}

// open draws the picture, or finds it drawn.
func (a *artwork) open(d *drawing) error {
	l := a.layer
	w, h := int(math.Ceil(a.box.W)), int(math.Ceil(a.box.H))
	if d.card.hasArt() {
		var failed error // to get the file, which is not the file's fault
		file := func() ([]byte, error) {
			if d.card.OpenArt == nil || len(d.card.Art) > 0 {
				return d.card.Art, nil
			}
			var data []byte
			data, failed = d.card.OpenArt(d.ctx)
			return data, failed
		}
		var err error
		a.pic, err = d.tpl.picture(d.ctx, file, a.digest, d.card.ArtType, w, h, l.Fit, l.Position, vg.Color{A: 255})
		switch {
		case failed != nil:
			return failed
		case err != nil && d.ctx.Err() != nil:
			return d.ctx.Err()
		case err != nil:
			return &RejectError{Column: "art", Reason: err.Error()}
		}
	} else {
		palette := make([]vg.Color, len(l.Palette))
		for i, p := range l.Palette {
			palette[i] = d.look.must(p)
		}
		a.pic = &picture{Canvas: procedural(d.card.ID, d.card.Seed, w, h, palette)}
	}
	if l.Fill != nil {
		a.under = d.look.paint(l.Fill, a.box)
	}
	return nil
}

// assetImage draws one of the template's own images.
func (t *Template) assetImage(ctx context.Context, a *asset, w, h int, fit string, ink vg.Color) (*picture, error) {
	data, ok := t.assets[a.Digest]
	if !ok {
		return nil, fmt.Errorf("render: image %s was not loaded", a.Digest)
	}
	file := func() ([]byte, error) { return data, nil }
	return t.picture(ctx, file, a.Digest, a.Type, w, h, fit, [2]float64{0.5, 0.5}, ink)
}

// picture decodes an image and fits it into w by h pixels. The caller owns the canvas and should release it. digest is
// the SHA-256 of the file, which is only asked for if the picture is not kept.
func (t *Template) picture(ctx context.Context, file func() ([]byte, error), digest, kind string, w, h int, fit string, pos [2]float64, ink vg.Color) (*picture, error) {
	if w < 1 || h < 1 {
		return &picture{Canvas: vg.NewCanvas(1, 1)}, nil
	}
	key := pictureKey{t.id, digest, kind, fit, w, h, pos[0], pos[1], ink}
	if p, ok := t.kept.pictures.Get(key); ok {
		return p.open(t.kept.canvas(w, h)), nil
	}
	data, err := file()
	if err != nil {
		return nil, err
	}
	pic, err := t.decode(ctx, data, kind, w, h, fit != "contain", pos, ink)
	if err != nil {
		return nil, err
	}
	p := pack(pic)
	t.kept.pictures.Put(key, p, p.size())
	return &picture{Canvas: pic}, nil
}

func (t *Template) decode(ctx context.Context, data []byte, kind string, w, h int, cover bool, pos [2]float64, ink vg.Color) (*vg.Canvas, error) {
	if len(data) > maxArtBytes {
		return nil, fmt.Errorf("a file of %d bytes; at most %d are allowed", len(data), maxArtBytes)
	}
	var config func([]byte) (image.Config, error)
	var full func([]byte) (image.Image, error)
	switch kind {
	case "svg":
		img, err := svg.Parse(data)
		if err != nil {
			return nil, err
		}
		pic, err := img.Draw(ctx, w, h, svg.Options{Cover: cover, X: pos[0], Y: pos[1], Color: ink, Fonts: t.svgFonts(ctx)})
		var bad *svg.Error
		if err != nil && !errors.As(err, &bad) {
			return nil, fmt.Errorf("drawing an SVG: %w", err)
		}
		return pic, err
	case "png":
		config = func(b []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) }
		full = func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }
	case "jpeg":
		config = func(b []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) }
		full = func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }
	default:
		return nil, fmt.Errorf("art of type %q; svg, png and jpeg can be drawn", kind)
	}
	cfg, err := config(data)
	if err != nil {
		return nil, fmt.Errorf("not a readable %s file: %v", kind, err)
	}
	if cfg.Width < 1 || cfg.Height < 1 {
		return nil, fmt.Errorf("a %s file without pixels", kind)
	}
	if cfg.Width > maxArtPixels/cfg.Height {
		return nil, fmt.Errorf("%d x %d pixels; at most %d million pixels are allowed", cfg.Width, cfg.Height, maxArtPixels/1_000_000)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	img, err := full(data)
	if err != nil {
		return nil, fmt.Errorf("not a whole %s file: %v", kind, err)
	}
	b := img.Bounds()
	pic := vg.NewCanvas(w, h)
	iw, ih := float64(b.Dx()), float64(b.Dy())
	k := math.Max(float64(w)/iw, float64(h)/ih)
	if !cover {
		k = math.Min(float64(w)/iw, float64(h)/ih)
	}
	var scaler xdraw.Scaler = xdraw.CatmullRom
	if iw*k < 1 || ih*k < 1 {
		scaler = xdraw.ApproxBiLinear
	}
	x := int(math.Round((float64(w) - iw*k) * pos[0]))
	y := int(math.Round((float64(h) - ih*k) * pos[1]))
	dst := image.Rect(x, y, x+max(1, int(math.Round(iw*k))), y+max(1, int(math.Round(ih*k))))
	if cover { // scale only what is seen
		vis := image.Rect(0, 0, w, h)
		src := image.Rect(
			b.Min.X+int(math.Floor(float64(-dst.Min.X)/k)), b.Min.Y+int(math.Floor(float64(-dst.Min.Y)/k)),
			b.Min.X+int(math.Ceil(float64(vis.Max.X-dst.Min.X)/k)), b.Min.Y+int(math.Ceil(float64(vis.Max.Y-dst.Min.Y)/k))).Intersect(b)
		if src.Empty() {
			src = b
		}
		place(pic, vis, img, src, scaler)
		return pic, nil
	}
	place(pic, dst, img, b, scaler)
	return pic, nil
}

// place draws a part of an image at its place, scaled only if it has to be: copying is ten times as fast.
func place(pic *vg.Canvas, dst image.Rectangle, img image.Image, src image.Rectangle, scaler xdraw.Scaler) {
	if dst.Size() == src.Size() {
		xdraw.Draw(pic.Image(), dst, img, src.Min, xdraw.Src)
		return
	}
	scaler.Scale(pic.Image(), dst, img, src, xdraw.Src, nil)
}

// svgFonts sets text inside of SVG art in the template's first fonts.
func (t *Template) svgFonts(ctx context.Context) svg.Fonts {
	return func(text, family string, size float64, bold, italic bool) (*vg.Path, float64) {
		p := &vg.Path{}
		if len(t.names) == 0 {
			return p, 0
		}
		run, err := t.type_.shape(shapeKey{family: t.font(family), bold: bold, italic: italic, lang: "en", text: text})
		if err != nil || ctx.Err() != nil {
			return p, 0
		}
		for i := range run.glyphs {
			g := &run.glyphs[i]
			if o, err := t.type_.outline(g); err == nil {
				p.Append(o, vg.Translate(g.x*size, g.y*size).Mul(vg.Scale(size*g.scale, size*g.scale)))
			}
		}
		return p, run.width * size
	}
}
