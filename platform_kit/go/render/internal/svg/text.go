package svg

import (
	"strings"

	"platform-kit/render/internal/vg"
)

type glyphs struct {
	path  *vg.Path
	state state
}

// layout sets a <text> element; every chunk may have a style of its own.
func (r *renderer) layout(n *node, s state) []glyphs {
	if r.fonts == nil {
		return nil
	}
	var out []glyphs
	var line []int
	x, y, start := 0.0, 0.0, 0.0
	anchor := func(a string) {
		shift := 0.0
		switch a {
		case "middle":
			shift = (x - start) / 2
		case "end":
			shift = x - start
		}
		for _, i := range line {
			moved := &vg.Path{}
			moved.Append(out[i].path, vg.Translate(-shift, 0))
			out[i].path = moved
		}
		line = line[:0]
		start = x
	}
	var visit func(n *node, s state, depth int)
	visit = func(n *node, s state, depth int) {
		if depth > 10 {
			return
		}
		num := func(name string, whole float64) (float64, bool) {
			v := strings.FieldsFunc(n.style[name], func(c rune) bool { return c == ' ' || c == ',' })
			if len(v) == 0 {
				return 0, false
			}
			return parseLength(v[0], whole, s.fontSize, 0), true
		}
		if v, ok := num("x", s.viewW); ok {
			anchor(s.anchor)
			x = v
			start = x
		}
		if v, ok := num("y", s.viewH); ok {
			y = v
		}
		if v, ok := num("dx", s.viewW); ok {
			x += v
		}
		if v, ok := num("dy", s.viewH); ok {
			y += v
		}
		for i, c := range n.children {
			if c.tag == "#text" {
				text := strings.Join(strings.Fields(c.text), " ")
				if c.text != "" && strings.TrimLeft(c.text, " \n\t") != c.text && len(line) > 0 {
					text = " " + text
				}
				if text != "" && strings.TrimRight(c.text, " \n\t") != c.text && i < len(n.children)-1 {
					text += " "
				}
				if text == "" || !r.spend(200*len(text)) || len(text) > 10_000 {
					continue
				}
				bold := s.weight == "bold" || s.weight == "bolder" || s.weight >= "600" && len(s.weight) == 3
				p, w := r.fonts(text, s.family, s.fontSize, bold, s.slant == "italic" || s.slant == "oblique")
				moved := &vg.Path{}
				moved.Append(p, vg.Translate(x, y))
				line = append(line, len(out))
				out = append(out, glyphs{moved, s})
				x += w
			} else if c.tag == "tspan" || c.tag == "a" {
				visit(c, s.inherit(c), depth+1)
			}
		}
	}
	visit(n, s, 0)
	anchor(s.anchor)
	return out
}

func (r *renderer) text(n *node, s state) {
	for _, g := range r.layout(n, s) {
		r.shape(g.path, &g.state, false)
	}
}

func (r *renderer) textPath(n *node, s state) *vg.Path {
	p := &vg.Path{}
	for _, g := range r.layout(n, s) {
		p.Append(g.path, vg.Identity)
	}
	return p
}
