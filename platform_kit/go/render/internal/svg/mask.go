package svg

import (
	"math"
	"slices"

	"platform-kit/render/internal/vg"
)

// bounds is the box of an element in its own space, without strokes.
func (r *renderer) bounds(n *node, s state) vg.Rect {
	m, ok := s.m.Invert()
	if !ok {
		return vg.Rect{}
	}
	lo, hi := vg.Point{X: math.Inf(1), Y: math.Inf(1)}, vg.Point{X: math.Inf(-1), Y: math.Inf(-1)}
	var visit func(n *node, s state, depth int)
	visit = func(n *node, s state, depth int) {
		if depth > 20 || !r.spend(0) {
			return
		}
		if n.tag == "use" {
			if t := r.doc.ids[n.href()]; t != nil && !slices.Contains(r.using, t) {
				s.m = s.m.Mul(vg.Translate(parseLength(n.style["x"], s.viewW, 1, 0), parseLength(n.style["y"], s.viewH, 1, 0)))
				visit(t, s.inherit(t), depth+1)
			}
			return
		}
		p := outline(n, &s)
		if n.tag == "image" {
			p = &vg.Path{}
			p.Rectangle(r.imageBox(n, &s), 0, 0)
		}
		if p != nil {
			q := &vg.Path{}
			q.Append(p, m.Mul(s.m))
			b := q.Bounds()
			lo.X, lo.Y = math.Min(lo.X, b.X), math.Min(lo.Y, b.Y)
			hi.X, hi.Y = math.Max(hi.X, b.X+b.W), math.Max(hi.Y, b.Y+b.H)
		}
		for _, c := range n.children {
			if c.style["display"] != "none" && c.tag != "defs" && c.tag != "#text" {
				visit(c, s.inherit(c), depth+1)
			}
		}
	}
	visit(n, s, 0)
	if lo.X > hi.X {
		return vg.Rect{}
	}
	return vg.Rect{X: lo.X, Y: lo.Y, W: hi.X - lo.X, H: hi.Y - lo.Y}
}

// clipMask is the union of a clip path's shapes.
func (r *renderer) clipMask(n *node, s *state, bounds vg.Rect) *vg.Mask {
	w, h := r.canvas.W, r.canvas.H
	out := &vg.Mask{W: w, H: h, Pix: make([]uint8, w*h)}
	if !r.spend(w * h) {
		return out
	}
	r.using = append(r.using, n)
	defer func() { r.using = r.using[:len(r.using)-1] }()
	base := newState(s.m, s.viewW, s.viewH)
	base = base.inherit(n)
	if n.style["clipPathUnits"] == "objectBoundingBox" {
		base.m = base.m.Mul(vg.Translate(bounds.X, bounds.Y)).Mul(vg.Scale(bounds.W, bounds.H))
	}
	var add func(c *node, st state, depth int)
	add = func(c *node, st state, depth int) {
		if depth > 10 || c.style["display"] == "none" || !r.spend(0) {
			return
		}
		st = st.inherit(c)
		if c.tag == "use" {
			if t := r.doc.ids[c.href()]; t != nil {
				st.m = st.m.Mul(vg.Translate(parseLength(c.style["x"], st.viewW, 1, 0), parseLength(c.style["y"], st.viewH, 1, 0)))
				add(t, st, depth+1)
			}
			return
		}
		if c.tag == "g" {
			for _, k := range c.children {
				add(k, st, depth+1)
			}
			return
		}
		p := outline(c, &st)
		if c.tag == "text" {
			p = r.textPath(c, st)
		}
		if p == nil || !r.spend(vg.Flatten(p, st.m).Effort(h)) {
			return
		}
		m := vg.FillMask(p, st.m, st.clipRule, w, h)
		if id, _, ok := reference(c.style["clip-path"]); ok {
			if k := r.doc.ids[id]; k != nil && k.tag == "clipPath" && !slices.Contains(r.using, k) {
				m = m.Intersect(r.clipMask(k, &st, p.Bounds()))
			}
		}
		if !r.spend(2 * len(m.Pix)) {
			return
		}
		for y := range m.H {
			for x := range m.W {
				i := (y+m.Y)*w + x + m.X
				out.Pix[i] = max(out.Pix[i], m.Pix[y*m.W+x])
			}
		}
	}
	for _, c := range n.children {
		add(c, base, 0)
	}
	if id, _, ok := reference(n.style["clip-path"]); ok {
		if k := r.doc.ids[id]; k != nil && k.tag == "clipPath" && !slices.Contains(r.using, k) {
			out = out.Intersect(r.clipMask(k, s, bounds))
		}
	}
	return out
}

// luminance draws a <mask> and takes its brightness as coverage.
func (r *renderer) luminance(n *node, s *state, bounds vg.Rect) *vg.Mask {
	r.using = append(r.using, n)
	defer func() { r.using = r.using[:len(r.using)-1] }()
	if !r.spend(2 * r.canvas.W * r.canvas.H) {
		return &vg.Mask{}
	}
	st := newState(s.m, s.viewW, s.viewH)
	st.depth = s.depth + 1
	st = st.inherit(n)
	region := &vg.Path{}
	num := func(name string, whole, otherwise float64) float64 {
		return parseLength(n.style[name], whole, 16, otherwise)
	}
	if n.style["maskUnits"] == "userSpaceOnUse" {
		region.Rectangle(vg.Rect{X: num("x", s.viewW, -0.1*s.viewW), Y: num("y", s.viewH, -0.1*s.viewH),
			W: num("width", s.viewW, 1.2*s.viewW), H: num("height", s.viewH, 1.2*s.viewH)}, 0, 0)
	} else {
		x, y := num("x", 1, -0.1), num("y", 1, -0.1)
		w, h := num("width", 1, 1.2), num("height", 1, 1.2)
		region.Rectangle(vg.Rect{X: bounds.X + x*bounds.W, Y: bounds.Y + y*bounds.H, W: w * bounds.W, H: h * bounds.H}, 0, 0)
	}
	st.clip = vg.FillMask(region, s.m, vg.NonZero, r.canvas.W, r.canvas.H)
	if n.style["maskContentUnits"] == "objectBoundingBox" {
		st.m = st.m.Mul(vg.Translate(bounds.X, bounds.Y)).Mul(vg.Scale(bounds.W, bounds.H))
	}
	outer := r.canvas
	r.canvas = vg.NewCanvas(outer.W, outer.H)
	r.children(n.children, st)
	var m *vg.Mask
	if n.style["mask-type"] == "alpha" {
		m = &vg.Mask{W: outer.W, H: outer.H, Pix: make([]uint8, outer.W*outer.H)}
		for i := range m.Pix {
			m.Pix[i] = r.canvas.Pix[4*i+3]
		}
	} else {
		m = r.canvas.Luminance()
	}
	r.canvas = outer
	return m
}

// filter applies blurs and drop shadows to the layer; other primitives are left out.
func (r *renderer) filter(n *node, s *state) {
	scale := s.m.Mean()
	for _, f := range n.children {
		num := func(name string, otherwise float64) float64 {
			v := vg.Numbers(f.style[name])
			if len(v) == 0 {
				return otherwise
			}
			return v[0]
		}
		switch f.tag {
		case "feGaussianBlur":
			if in := f.style["in"]; in == "SourceAlpha" || in == "BackgroundImage" {
				return // a hand-made shadow: the plain graphic is the better picture
			}
			if r.spend(24 * r.canvas.W * r.canvas.H) {
				r.canvas.BlurCanvas(num("stdDeviation", 0) * scale)
			}
			if len(n.children) > 1 { // e.g. a glow merged with its source
				return
			}
		case "feDropShadow":
			if !r.spend(28 * r.canvas.W * r.canvas.H) {
				return
			}
			color, ok := parseColor(f.style["flood-color"], s.color)
			if !ok {
				color = vg.Color{A: 255}
			}
			shadow := &vg.Mask{W: r.canvas.W, H: r.canvas.H, Pix: make([]uint8, r.canvas.W*r.canvas.H)}
			for i := range shadow.Pix {
				shadow.Pix[i] = r.canvas.Pix[4*i+3]
			}
			shadow = shadow.Blur(min(num("stdDeviation", 2)*scale*1.8, 200))
			layer := vg.NewCanvas(r.canvas.W, r.canvas.H)
			layer.Paint(shadow.Offset(int(math.Round(num("dx", 2)*scale)), int(math.Round(num("dy", 2)*scale))),
				vg.Solid(color), nil, parseUnit(f.style["flood-opacity"], 1))
			layer.Draw(r.canvas, 0, 0, nil, 1)
			r.canvas = layer
		}
	}
}
