package svg

import (
	"context"
	"math"
	"slices"
	"strings"

	"platform-kit/render/internal/vg"
)

// maxDepthDrawn bounds use, patterns, masks and groups inside of each other.
const maxDepthDrawn = 40

// Fonts gives outlines for text, in pixels with the origin on the baseline.
type Fonts func(text, family string, size float64, bold, italic bool) (outline *vg.Path, advance float64)

// Image is a parsed SVG.
type Image struct {
	doc  *document
	box  vg.Rect
	w, h float64
}

// Size is the natural width and height.
func (i *Image) Size() (w, h float64) { return i.w, i.h }

// Parse reads a document. Its errors are of type *Error.
func Parse(data []byte) (*Image, error) {
	doc, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := check(doc.root); err != nil {
		return nil, err
	}
	img := &Image{doc: doc}
	box, ok := parseViewBox(doc.root.attrs["viewBox"])
	img.w = parseLength(doc.root.attrs["width"], math.Max(box.W, 1), 16, box.W)
	img.h = parseLength(doc.root.attrs["height"], math.Max(box.H, 1), 16, box.H)
	if !ok {
		if img.w <= 0 {
			img.w = 300
		}
		if img.h <= 0 {
			img.h = 150
		}
		box = vg.Rect{W: img.w, H: img.h}
	}
	if !(img.w > 0 && img.h > 0) {
		return nil, fail("an SVG without a size; give it a viewBox")
	}
	img.box = box
	return img, nil
}

// check refuses references to anything outside of the document.
func check(n *node) error {
	if h := n.attrs["href"]; h != "" && !strings.HasPrefix(h, "#") && n.tag != "a" {
		if n.tag != "image" || !strings.HasPrefix(h, "data:image/") {
			return fail("<%s> refers to %.80q outside of the file; embed it instead", n.tag, h)
		}
	}
	for k, v := range n.style {
		if i := strings.Index(v, "url("); i >= 0 && k != "id" && k != "class" {
			if u := strings.TrimLeft(v[i+4:], " '\""); !strings.HasPrefix(u, "#") {
				return fail("%s refers to %.80q outside of the file; embed it instead", k, u)
			}
		}
	}
	for _, c := range n.children {
		if err := check(c); err != nil {
			return err
		}
	}
	return nil
}

type renderer struct {
	ctx    context.Context
	doc    *document
	canvas *vg.Canvas
	fonts  Fonts
	budget int // pixels that may still be worked on
	drawn  int
	err    error
	using  []*node // what is being drawn through a reference, against cycles
}

// spend takes pixels from the budget; false means stop.
func (r *renderer) spend(pixels int) bool {
	if r.err != nil {
		return false
	}
	r.drawn++
	r.budget -= pixels + 2000
	if r.budget < 0 {
		r.err = fail("an SVG that takes too much work to draw")
	} else if r.drawn%16 == 0 && r.ctx.Err() != nil {
		r.err = r.ctx.Err()
	}
	return r.err == nil
}

// Options say how an image is fitted into a canvas.
type Options struct {
	Cover bool     // fill the canvas and cut what is too much; otherwise show all
	X, Y  float64  // which part is kept, or where the image stands: 0 start, 1 end
	Color vg.Color // currentColor
	Fonts Fonts    // nil leaves text out
}

// Draw renders the image into a canvas of w by h pixels.
func (i *Image) Draw(ctx context.Context, w, h int, o Options) (*vg.Canvas, error) {
	r := &renderer{ctx: ctx, doc: i.doc, canvas: vg.NewCanvas(w, h), fonts: o.Fonts, budget: 400*w*h + 50_000_000}
	k := math.Min(float64(w)/i.w, float64(h)/i.h)
	if o.Cover {
		k = math.Max(float64(w)/i.w, float64(h)/i.h)
	}
	m := vg.Translate((float64(w)-i.w*k)*o.X, (float64(h)-i.h*k)*o.Y).Mul(vg.Scale(k, k))
	m = m.Mul(viewTransform(i.box, i.w, i.h, i.doc.root.attrs["preserveAspectRatio"]))
	s := newState(m, i.box.W, i.box.H)
	s.color = o.Color
	r.group(i.doc.root, s.inherit(i.doc.root))
	return r.canvas, r.err
}

func (r *renderer) children(nodes []*node, s state) {
	s.depth++
	if s.depth > maxDepthDrawn {
		return
	}
	for _, n := range nodes {
		if r.err != nil {
			return
		}
		r.element(n, s)
	}
}

func (r *renderer) element(n *node, parent state) {
	if n.style["display"] == "none" || parent.depth > maxDepthDrawn {
		return
	}
	switch n.tag {
	case "g", "a", "switch", "svg", "use", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "image":
		r.group(n, parent.inherit(n))
	}
}

// group draws an element, by way of a layer of its own if it needs one.
func (r *renderer) group(n *node, s state) {
	opacity := parseUnit(n.style["opacity"], 1)
	if id, _, ok := reference(n.style["clip-path"]); ok {
		if c := r.doc.ids[id]; c != nil && c.tag == "clipPath" && !slices.Contains(r.using, c) {
			mask := r.clipMask(c, &s, r.bounds(n, s))
			if s.clip = mask.Intersect(s.clip); s.clip.W == 0 {
				return
			}
		}
	}
	var mask *node
	if id, _, ok := reference(n.style["mask"]); ok {
		if c := r.doc.ids[id]; c != nil && c.tag == "mask" && !slices.Contains(r.using, c) {
			mask = c
		}
	}
	var filter *node
	if id, _, ok := reference(n.style["filter"]); ok {
		if c := r.doc.ids[id]; c != nil && c.tag == "filter" {
			filter = c
		}
	}
	if opacity <= 0 {
		return
	}
	single := len(n.children) == 0 && n.tag != "use" && n.tag != "image" && (s.fill == "none" || s.stroke == "none")
	if mask == nil && filter == nil && (opacity == 1 || single) {
		s.fillOpacity *= opacity
		s.strokeOpac *= opacity
		r.content(n, s)
		return
	}
	if !r.spend(4 * r.canvas.W * r.canvas.H) {
		return
	}
	outer, clip := r.canvas, s.clip
	r.canvas = vg.NewCanvas(outer.W, outer.H)
	s.clip = nil
	r.content(n, s)
	if filter != nil {
		r.filter(filter, &s)
	}
	layer := r.canvas
	if mask != nil {
		clip = r.luminance(mask, &s, r.bounds(n, s)).Intersect(clip)
	}
	r.canvas = outer
	outer.Draw(layer, 0, 0, clip, opacity)
}

func (r *renderer) content(n *node, s state) {
	switch n.tag {
	case "g", "a", "symbol":
		r.children(n.children, s)
	case "switch":
		if len(n.children) > 0 {
			r.children(n.children[:1], s)
		}
	case "svg":
		r.nested(n, n, s)
	case "use":
		r.use(n, s)
	case "image":
		r.image(n, &s)
	case "text":
		r.text(n, s)
	default:
		if p := outline(n, &s); p != nil {
			r.shape(p, &s, n.tag == "line")
		}
	}
}

func (r *renderer) shape(p *vg.Path, s *state, lineOnly bool) {
	if !s.visible || !r.spend(20*p.Len()) {
		return
	}
	flat := vg.Flatten(p, s.m)
	effort := flat.Effort(r.canvas.H)
	bounds := p.Bounds()
	fill := func() {
		if lineOnly {
			return
		}
		if paint := r.paint(s.fill, s, bounds); paint != nil && r.spend(effort) {
			r.spend(2 * r.canvas.FillFlat(flat, s.rule, paint, s.clip, s.fillOpacity))
		}
	}
	stroke := func() {
		if s.line.Width <= 0 {
			return
		}
		if paint := r.paint(s.stroke, s, bounds); paint != nil && r.spend(4*effort) {
			r.spend(2 * r.canvas.Line(p, s.m, s.line, paint, s.clip, s.strokeOpac))
		}
	}
	if strings.HasPrefix(s.paintOrder, "stroke") {
		stroke()
		fill()
		return
	}
	fill()
	stroke()
}

func (r *renderer) use(n *node, s state) {
	target := r.doc.ids[n.href()]
	if target == nil || slices.Contains(r.using, target) || !r.spend(0) {
		return
	}
	x := parseLength(n.style["x"], s.viewW, s.fontSize, 0)
	y := parseLength(n.style["y"], s.viewH, s.fontSize, 0)
	s.m = s.m.Mul(vg.Translate(x, y))
	r.using = append(r.using, target)
	defer func() { r.using = r.using[:len(r.using)-1] }()
	s.depth++
	if target.tag == "symbol" || target.tag == "svg" {
		st := s.inherit(target)
		r.nested(target, n, st)
		return
	}
	r.element(target, s)
}

// nested draws an <svg> or <symbol>, sized by sizer's attributes.
func (r *renderer) nested(n, sizer *node, s state) {
	if n == r.doc.root {
		r.children(n.children, s)
		return
	}
	w := parseLength(sizer.style["width"], s.viewW, s.fontSize, parseLength(n.style["width"], s.viewW, s.fontSize, s.viewW))
	h := parseLength(sizer.style["height"], s.viewH, s.fontSize, parseLength(n.style["height"], s.viewH, s.fontSize, s.viewH))
	if n == sizer {
		s.m = s.m.Mul(vg.Translate(parseLength(n.style["x"], s.viewW, s.fontSize, 0), parseLength(n.style["y"], s.viewH, s.fontSize, 0)))
	}
	if box, ok := parseViewBox(n.attrs["viewBox"]); ok {
		if n.style["overflow"] != "visible" {
			p := &vg.Path{}
			p.Rectangle(vg.Rect{W: w, H: h}, 0, 0)
			s.clip = vg.FillMask(p, s.m, vg.NonZero, r.canvas.W, r.canvas.H).Intersect(s.clip)
		}
		s.m = s.m.Mul(viewTransform(box, w, h, n.attrs["preserveAspectRatio"]))
		s.viewW, s.viewH = box.W, box.H
	} else {
		s.viewW, s.viewH = w, h
	}
	r.children(n.children, s)
}
