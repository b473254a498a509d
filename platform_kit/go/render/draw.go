package render

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"platform-kit/render/internal/vg"
)

// drawing is one card in the making.
type drawing struct {
	ctx      context.Context
	tpl      *Template
	card     *Card
	look     *look
	lang     string
	canvas   *vg.Canvas
	opacity  float64
	named    map[string]vg.Rect // where named layers were drawn, with the room they want
	warnings []string
	missing  []rune
}

func (d *drawing) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(d.warnings, w) && len(d.warnings) < 50 {
		d.warnings = append(d.warnings, w)
	}
}

// segment is a row of layers that are all static, or none of them.
type segment struct {
	layers []*layer
	static bool
	styles []int // which styles a static one depends on
}

// segments splits layers where static ones begin and end.
func segments(layers []*layer) []segment {
	var out []segment
	for i, l := range layers {
		static := l.isStatic()
		if n := len(out); n > 0 && out[n-1].static == static {
			out[n-1].layers = layers[i-len(out[n-1].layers) : i+1]
		} else {
			out = append(out, segment{layers: layers[i : i+1], static: static})
		}
	}
	return out
}

// sheetKey names a static segment: the styles that its colours depend on, and which of its layers are shown.
type sheetKey struct {
	template    templateID
	segment     int
	look, shown string
}

// run draws the whole card. Layers that show nothing of the card itself are
// drawn once per style and then put on top as a whole.
func (d *drawing) run() error {
	for i, seg := range d.tpl.segments {
		if !seg.static {
			if d.canvas == nil {
				d.canvas = d.tpl.blank()
			}
			if err := d.layers(seg.layers); err != nil {
				return err
			}
			continue
		}
		s, err := d.sheet(i, seg)
		if err != nil {
			return err
		}
		switch {
		case d.canvas != nil:
		case s.Covers():
			d.canvas = d.tpl.kept.canvas(d.tpl.bundle.Width, d.tpl.bundle.Height)
		default:
			d.canvas = d.tpl.blank()
		}
		d.canvas.Stamp(s)
	}
	if d.canvas == nil {
		d.canvas = d.tpl.blank()
	}
	return nil
}

// blank returns a transparent canvas of a card's size.
func (t *Template) blank() *vg.Canvas { return t.kept.blank(t.bundle.Width, t.bundle.Height) }

// sheet returns a static segment, drawn for the card's look.
func (d *drawing) sheet(i int, seg segment) (*vg.Sprite, error) {
	var shown strings.Builder
	for _, l := range seg.layers {
		d.shown(l, &shown)
	}
	var chosen strings.Builder
	for _, k := range seg.styles {
		chosen.WriteString(d.look.keys[k])
		chosen.WriteByte(0)
	}
	key := sheetKey{d.tpl.id, i, chosen.String(), shown.String()}
	if s, ok := d.tpl.kept.sheets.Get(key); ok {
		return s, nil
	}
	outer := d.canvas
	d.canvas = d.tpl.blank()
	err := d.layers(seg.layers)
	drawn := d.canvas
	d.canvas = outer
	if err != nil {
		return nil, err
	}
	s := vg.NewSprite(drawn)
	d.tpl.kept.release(drawn)
	d.tpl.kept.sheets.Put(key, s, s.Bytes())
	return s, nil
}

// shown writes which layers are drawn.
func (d *drawing) shown(l *layer, key *strings.Builder) {
	if len(l.When) > 0 {
		if d.card.holds(l.When) {
			key.WriteByte('+')
		} else {
			key.WriteByte('-')
		}
	}
	for _, c := range l.Layers {
		d.shown(c, key)
	}
}

// isStatic tells whether a layer's picture depends on the style alone.
func (l *layer) isStatic() bool {
	switch l.Kind {
	case "rect", "ellipse", "path", "image":
		return true
	case "group":
		for _, c := range l.Layers {
			if !c.isStatic() {
				return false
			}
		}
		return true
	}
	return false
}

func (d *drawing) layers(layers []*layer) error {
	for _, l := range layers {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if !d.card.holds(l.When) {
			continue
		}
		if err := d.layer(l); err != nil {
			return err
		}
	}
	return nil
}

func (d *drawing) layer(l *layer) error {
	outer := d.opacity
	defer func() { d.opacity = outer }()
	if l.Opacity != nil {
		d.opacity *= *l.Opacity
	}
	if l.Kind == "group" {
		return d.layers(l.Layers)
	}
	box := vg.Rect{X: l.Box[0], Y: l.Box[1], W: l.Box[2], H: l.Box[3]}
	switch l.Kind {
	case "rect", "ellipse", "path":
		d.shape(l, box)
	case "text":
		return d.text(l, box)
	case "icons":
		return d.icons(l, box)
	case "art":
		return d.art(l, box)
	case "image":
		pic, err := d.tpl.assetImage(d.ctx, l.Image, int(box.W+0.5), int(box.H+0.5), l.Fit, d.inkOf(l))
		if err != nil {
			return err
		}
		d.canvas.Draw(pic, int(box.X+0.5), int(box.Y+0.5), nil, d.opacity)
		d.tpl.kept.release(pic)
	}
	return nil
}

func (d *drawing) inkOf(l *layer) vg.Color {
	if l.Color == "" {
		return vg.Color{A: 255}
	}
	return d.look.must(l.Color)
}

// shapeMasks are a shape's coverages, which no card changes.
type shapeMasks struct{ fill, stroke, shadow *vg.Mask }

func (d *drawing) shape(l *layer, box vg.Rect) {
	m, ok := d.tpl.kept.shapes.Get(l)
	if !ok {
		p := layerPath(l, box)
		m = &shapeMasks{}
		w, h := d.canvas.W, d.canvas.H
		if l.Fill != nil || l.Shadow != nil {
			m.fill = vg.FillMask(p, vg.Identity, vg.NonZero, w, h)
		}
		if l.Stroke != nil && l.StrokeWidth > 0 {
			m.stroke = vg.StrokeMask(p, vg.Identity, vg.Stroke{Width: l.StrokeWidth}, w, h)
		}
		size := 0
		if l.Shadow != nil {
			m.shadow = m.fill.Blur(min(l.Shadow.Blur, 300)).Offset(int(l.Shadow.DX), int(l.Shadow.DY))
			size += len(m.shadow.Pix)
		}
		for _, k := range []*vg.Mask{m.fill, m.stroke} {
			if k != nil {
				size += len(k.Pix)
			}
		}
		d.tpl.kept.shapes.Put(l, m, size+100)
	}
	if m.shadow != nil {
		d.canvas.Paint(m.shadow, vg.Solid(d.look.must(l.Shadow.Color)), nil, d.opacity)
	}
	if l.Fill != nil {
		d.canvas.Paint(m.fill, d.look.paint(l.Fill, box), nil, d.opacity)
	}
	if m.stroke != nil {
		d.canvas.Paint(m.stroke, d.look.paint(l.Stroke, box), nil, d.opacity)
	}
}

// layerPath is the outline of a rect, ellipse or path layer.
func layerPath(l *layer, box vg.Rect) *vg.Path {
	p := &vg.Path{}
	switch l.Kind {
	case "ellipse":
		p.Ellipse(box.X+box.W/2, box.Y+box.H/2, box.W/2, box.H/2)
	case "path":
		p.Append(l.path, vg.Translate(box.X, box.Y).Mul(vg.Scale(box.W/l.ViewBox[0], box.H/l.ViewBox[1])))
	default:
		p.Rectangle(box, l.Radius, l.Radius)
	}
	return p
}
