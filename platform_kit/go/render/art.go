package render

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"math"

	"platform-kit/raster"
	"platform-kit/render/internal/name"
	"platform-kit/render/internal/svg"
	"platform-kit/render/internal/vg"
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

// decode draws an image's file into w by h pixels.
func (t *Template) decode(ctx context.Context, data []byte, kind string, w, h int, cover bool, pos [2]float64, ink vg.Color) (*vg.Canvas, error) {
	switch kind {
	case raster.SVG:
		return t.drawSVG(ctx, data, w, h, cover, pos, ink)
	case raster.PNG, raster.JPEG, raster.WebP:
		return t.readRaster(ctx, data, kind, w, h, cover, pos)
	}
	return nil, raster.Refuse("art of type %q; svg, png, jpeg and webp can be drawn", kind)
}

func (t *Template) drawSVG(ctx context.Context, data []byte, w, h int, cover bool, pos [2]float64, ink vg.Color) (*vg.Canvas, error) {
	if len(data) > raster.MaxBytes {
		return nil, raster.Refuse("the file has %d bytes; at most %d are allowed", len(data), raster.MaxBytes)
	}
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
}

// readRaster weighs a picture, waits for the memory it needs, and gives it its size and its right side up.
func (t *Template) readRaster(ctx context.Context, data []byte, kind string, w, h int, cover bool, pos [2]float64) (*vg.Canvas, error) {
	is, err := raster.Sniff(data)
	if err != nil {
		return nil, err
	}
	if is != kind {
		return nil, raster.Refuse("the file's name says %s, its content is %s; name it .%s",
			raster.Label(kind), raster.Label(is), raster.Extension(is))
	}
	info, err := raster.Inspect(data)
	if err != nil {
		return nil, err
	}
	leave, err := t.kept.room.Enter(ctx, info.Cost)
	if err != nil {
		return nil, err
	}
	defer leave()
	img, err := raster.Decode(ctx, data, info)
	if err != nil {
		return nil, err
	}
	pic := vg.NewCanvas(w, h)
	iw, ih := info.Size()
	dst, src := fit(iw, ih, w, h, cover, pos)
	place(pic, dst, img, src, info.Orientation)
	return pic, nil
}

// fit says which part of a picture of iw by ih pixels is seen in w by h, and where.
func fit(iw, ih, w, h int, cover bool, pos [2]float64) (dst, src image.Rectangle) {
	width, height := float64(iw), float64(ih)
	k := math.Max(float64(w)/width, float64(h)/height)
	if !cover {
		k = math.Min(float64(w)/width, float64(h)/height)
	}
	src = image.Rect(0, 0, iw, ih)
	x := int(math.Round((float64(w) - width*k) * pos[0]))
	y := int(math.Round((float64(h) - height*k) * pos[1]))
	dst = image.Rect(x, y, x+max(1, int(math.Round(width*k))), y+max(1, int(math.Round(height*k))))
	if !cover {
		return dst, src
	}
	seen := image.Rect(0, 0, w, h)
	part := image.Rect(
		int(math.Floor(float64(-dst.Min.X)/k)), int(math.Floor(float64(-dst.Min.Y)/k)),
		int(math.Ceil(float64(w-dst.Min.X)/k)), int(math.Ceil(float64(h-dst.Min.Y)/k))).Intersect(src)
	if part.Empty() {
		part = src
	}
	return seen, part
}

// place draws the part src of a picture, as it is seen upright, at its place. Only that part is scaled, and only if it has
// to be: copying is ten times as fast.
func place(pic *vg.Canvas, dst image.Rectangle, img image.Image, src image.Rectangle, orientation int) {
	src = raster.Stored(src, img.Bounds(), orientation)
	if orientation == 1 && dst.Size() == src.Size() {
		draw.Draw(pic.Image(), dst, img, src.Min, draw.Src)
		return
	}
	w, h := dst.Dx(), dst.Dy()
	if raster.Sideways(orientation) {
		w, h = h, w
	}
	small := raster.Upright(raster.Scaled(raster.Part(img, src), w, h), orientation)
	draw.Draw(pic.Image(), dst, small, image.Point{}, draw.Src)
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
