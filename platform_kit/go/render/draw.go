package render

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"platform-kit/render/internal/name"
	"platform-kit/render/internal/vg"
)

// drawing is one card in the making: first it is laid out, then the strips that are new are drawn.
type drawing struct {
	ctx      context.Context
	tpl      *Template
	card     *Card
	look     *look
	lang     string
	opacity  float64
	named    map[string]vg.Rect // where named layers were drawn, with the room they want
	elements []element
	piece    *piece // what the layer leaves its dabs in
	key      name.Builder
	canvas   *vg.Canvas // one strip
	images   map[imageDab]*picture
	took     time.Duration // to draw strips
	warnings []string
	missing  []rune
}

// warn leaves a warning with the layer's dabs.
func (d *drawing) warn(format string, args ...any) {
	d.piece.warnings = append(d.piece.warnings, fmt.Sprintf(format, args...))
}

func (d *drawing) warnOnce(w string) {
	if !slices.Contains(d.warnings, w) && len(d.warnings) < 50 {
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

// run lays out the whole card. Layers that show nothing of the card itself are drawn once per style and are one element.
func (d *drawing) run() error {
	for i, seg := range d.tpl.segments {
		if !seg.static {
			if err := d.layers(seg.layers); err != nil {
				return err
			}
			continue
		}
		s, err := d.sheet(i, seg)
		if err != nil {
			return err
		}
		d.elements = append(d.elements, sheet{s})
	}
	return nil
}

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
	outer := d.elements
	defer func() { d.elements = outer }()
	d.elements = nil
	if err := d.layers(seg.layers); err != nil {
		return nil, err
	}
	drawn := d.tpl.kept.blank(d.tpl.bundle.Width, d.tpl.bundle.Height)
	if err := d.drawOn(drawn); err != nil {
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
		return d.show(l, d.sign(l, box).Done(), false, func() error { return d.shape(l, box) })
	case "text":
		return d.text(l, box)
	case "icons":
		return d.icons(l, box)
	case "art":
		return d.art(l, box)
	case "image":
		return d.show(l, d.sign(l, box).Done(), false, func() error {
			d.place(imageDab{l.Image, int(box.W + 0.5), int(box.H + 0.5), l.Fit, d.inkOf(l)}, int(box.X+0.5), int(box.Y+0.5))
			return nil
		})
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

func (d *drawing) shape(l *layer, box vg.Rect) error {
	m, ok := d.tpl.kept.shapes.Get(l)
	if !ok {
		p := layerPath(l, box)
		m = &shapeMasks{}
		w, h := d.tpl.bundle.Width, d.tpl.bundle.Height
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
		d.paint(m.shadow, 0, 0, vg.Solid(d.look.must(l.Shadow.Color)), d.opacity)
	}
	if l.Fill != nil {
		d.paint(m.fill, 0, 0, d.look.paint(l.Fill, box), d.opacity)
	}
	if m.stroke != nil {
		d.paint(m.stroke, 0, 0, d.look.paint(l.Stroke, box), d.opacity)
	}
	return nil
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
