package svg

import (
	"math"
	"strings"

	"platform-kit/render/internal/vg"
)

// reference returns the id in url(#id) and what follows it.
func reference(v string) (id, rest string, ok bool) {
	v = strings.TrimSpace(v)
	if !strings.HasPrefix(v, "url(") {
		return "", v, false
	}
	end := strings.IndexByte(v, ')')
	if end < 0 {
		return "", "", false
	}
	id = strings.Trim(v[4:end], " '\"")
	if !strings.HasPrefix(id, "#") {
		return "", strings.TrimSpace(v[end+1:]), false
	}
	return id[1:], strings.TrimSpace(v[end+1:]), true
}

// paint resolves a fill or stroke value for a shape with the given bounds.
func (r *renderer) paint(value string, s *state, bounds vg.Rect) vg.Paint {
	if value == "none" || value == "" {
		return nil
	}
	id, rest, ok := reference(value)
	if ok {
		if n := r.doc.ids[id]; n != nil {
			switch n.tag {
			case "linearGradient", "radialGradient":
				if p := r.gradient(n, s, bounds); p != nil {
					return p
				}
				return nil
			case "pattern":
				return r.pattern(n, s, bounds)
			}
		}
		value = rest
	} else if strings.HasPrefix(value, "url(") {
		value = rest
	}
	if value == "none" || value == "" {
		return nil
	}
	c, ok := parseColor(value, s.color)
	if !ok || c.A == 0 {
		return nil
	}
	return vg.Solid(c)
}

// chain follows href from a gradient or pattern to those it builds on.
func (r *renderer) chain(n *node) []*node {
	var out []*node
	for n != nil && len(out) < 16 {
		out = append(out, n)
		n = r.doc.ids[n.href()]
	}
	return out
}

func lookup(chain []*node, name string) string {
	for _, n := range chain {
		if v := n.style[name]; v != "" {
			return v
		}
	}
	return ""
}

func (r *renderer) gradient(n *node, s *state, bounds vg.Rect) vg.Paint {
	chain := r.chain(n)
	var stops []vg.Stop
	for _, c := range chain {
		if !r.spend(400 * len(c.children)) { // reading a stop takes as long as that many pixels
			return nil
		}
		for _, st := range c.children {
			if st.tag != "stop" {
				continue
			}
			color, ok := parseColor(st.style["stop-color"], s.color)
			if !ok {
				color = vg.Color{A: 255}
			}
			stops = append(stops, vg.Stop{
				At:    parseUnit(st.style["offset"], 0),
				Color: color.Alpha(parseUnit(st.style["stop-opacity"], 1)),
			})
		}
		if len(stops) > 0 {
			break
		}
	}
	if len(stops) == 0 || len(stops) > 1000 {
		return nil
	}
	m := s.m
	w, h := s.viewW, s.viewH
	if lookup(chain, "gradientUnits") != "userSpaceOnUse" {
		if bounds.Empty() {
			return vg.Solid(stops[len(stops)-1].Color)
		}
		m = m.Mul(vg.Translate(bounds.X, bounds.Y)).Mul(vg.Scale(bounds.W, bounds.H))
		w, h = 1, 1
	}
	m = m.Mul(parseTransform(lookup(chain, "gradientTransform")))
	spread := map[string]vg.Spread{"reflect": vg.Reflect, "repeat": vg.Repeat}[lookup(chain, "spreadMethod")]
	if n.tag == "linearGradient" {
		return vg.LinearGradient(
			vg.Point{X: parseLength(lookup(chain, "x1"), w, s.fontSize, 0), Y: parseLength(lookup(chain, "y1"), h, s.fontSize, 0)},
			vg.Point{X: parseLength(lookup(chain, "x2"), w, s.fontSize, w), Y: parseLength(lookup(chain, "y2"), h, s.fontSize, 0)},
			stops, spread, m)
	}
	diagonal := math.Sqrt((w*w + h*h) / 2)
	cx := parseLength(lookup(chain, "cx"), w, s.fontSize, w/2)
	cy := parseLength(lookup(chain, "cy"), h, s.fontSize, h/2)
	return vg.RadialGradient(
		vg.Point{X: parseLength(lookup(chain, "fx"), w, s.fontSize, cx), Y: parseLength(lookup(chain, "fy"), h, s.fontSize, cy)},
		vg.Point{X: cx, Y: cy}, parseLength(lookup(chain, "r"), diagonal, s.fontSize, diagonal/2), stops, spread, m)
}

func (r *renderer) pattern(n *node, s *state, bounds vg.Rect) vg.Paint {
	chain := r.chain(n)
	w, h := s.viewW, s.viewH
	m := s.m
	boxed := lookup(chain, "patternUnits") != "userSpaceOnUse"
	num := func(name string, whole float64) float64 {
		if boxed {
			return parseLength(lookup(chain, name), 1, 1, 0) * whole
		}
		return parseLength(lookup(chain, name), whole, s.fontSize, 0)
	}
	if boxed {
		w, h = bounds.W, bounds.H
	}
	tile := vg.Rect{X: num("x", w), Y: num("y", h), W: num("width", w), H: num("height", h)}
	if boxed {
		tile.X += bounds.X
		tile.Y += bounds.Y
	}
	m = m.Mul(parseTransform(lookup(chain, "patternTransform")))
	if tile.Empty() || s.depth > 12 {
		return nil
	}
	scale := math.Max(m.Mean(), 1e-6)
	// A pixel of a pattern takes longer than one of a colour.
	size := s.m.Mean()
	if !r.spend(8 * int(math.Min(bounds.W*size*bounds.H*size, float64(r.canvas.W*r.canvas.H)))) {
		return nil
	}
	pw := int(math.Ceil(math.Min(tile.W*scale, float64(r.canvas.W*2))))
	ph := int(math.Ceil(math.Min(tile.H*scale, float64(r.canvas.H*2))))
	if pw < 1 || ph < 1 || !r.spend(pw*ph) {
		return nil
	}
	toTile := vg.Scale(float64(pw)/tile.W, float64(ph)/tile.H)
	inner := toTile
	if box, ok := parseViewBox(lookup(chain, "viewBox")); ok {
		inner = toTile.Mul(viewTransform(box, tile.W, tile.H, lookup(chain, "preserveAspectRatio")))
	} else if lookup(chain, "patternContentUnits") == "objectBoundingBox" {
		inner = toTile.Mul(vg.Scale(bounds.W, bounds.H))
	} else {
		inner = toTile.Mul(vg.Translate(-tile.X, -tile.Y))
	}
	var content []*node
	for _, c := range chain {
		if len(c.children) > 0 {
			content = c.children
			break
		}
	}
	st := newState(inner, tile.W, tile.H)
	st.depth = s.depth + 1
	outer := r.canvas
	r.canvas = vg.NewCanvas(pw, ph)
	r.children(content, st)
	pic := r.canvas
	r.canvas = outer
	return vg.NewPicture(pic, m.Mul(vg.Translate(tile.X, tile.Y)).Mul(vg.Scale(tile.W/float64(pw), tile.H/float64(ph))), true)
}
