package svg

import (
	"strings"

	"platform-kit/render/internal/vg"
)

// state is what elements inherit.
type state struct {
	m                       vg.Matrix
	clip                    *vg.Mask
	fill, stroke            string
	color                   vg.Color
	fillOpacity, strokeOpac float64
	rule, clipRule          vg.Rule
	line                    vg.Stroke
	fontSize                float64
	family, weight, slant   string
	anchor                  string
	visible                 bool
	paintOrder              string
	viewW, viewH            float64
	depth                   int
}

func newState(m vg.Matrix, w, h float64) state {
	return state{
		m: m, fill: "black", stroke: "none", color: vg.Color{A: 255}, fillOpacity: 1, strokeOpac: 1,
		line: vg.Stroke{Width: 1, MiterLimit: 4}, fontSize: 16, visible: true, viewW: w, viewH: h,
	}
}

// inherit returns the state inside of n, its transform included.
func (s state) inherit(n *node) state {
	get := func(name string) (string, bool) {
		v, ok := n.style[name]
		return v, ok && v != "" && v != "inherit"
	}
	if v, ok := get("color"); ok {
		if c, ok := parseColor(v, s.color); ok {
			s.color = c
		}
	}
	if v, ok := get("fill"); ok {
		s.fill = v
	}
	if v, ok := get("stroke"); ok {
		s.stroke = v
	}
	if v, ok := get("fill-opacity"); ok {
		s.fillOpacity = parseUnit(v, 1)
	}
	if v, ok := get("stroke-opacity"); ok {
		s.strokeOpac = parseUnit(v, 1)
	}
	if v, ok := get("fill-rule"); ok {
		s.rule = fillRule(v)
	}
	if v, ok := get("clip-rule"); ok {
		s.clipRule = fillRule(v)
	}
	if v, ok := get("font-size"); ok {
		s.fontSize = min(max(parseLength(v, s.fontSize, s.fontSize, s.fontSize), 0), 5000)
	}
	if v, ok := get("stroke-width"); ok {
		s.line.Width = parseLength(v, (s.viewW+s.viewH)/2, s.fontSize, 1)
	}
	if v, ok := get("stroke-miterlimit"); ok {
		s.line.MiterLimit = parseLength(v, 1, 1, 4)
	}
	if v, ok := get("stroke-linecap"); ok {
		s.line.Cap = map[string]vg.Cap{"round": vg.RoundCap, "square": vg.SquareCap}[v]
	}
	if v, ok := get("stroke-linejoin"); ok {
		s.line.Join = map[string]vg.Join{"round": vg.RoundJoin, "bevel": vg.BevelJoin}[v]
	}
	if v, ok := get("stroke-dasharray"); ok {
		s.line.Dash = nil
		if v != "none" {
			for _, d := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
				s.line.Dash = append(s.line.Dash, parseLength(d, (s.viewW+s.viewH)/2, s.fontSize, 0))
			}
			if len(s.line.Dash) > 64 {
				s.line.Dash = nil
			}
		}
	}
	if v, ok := get("stroke-dashoffset"); ok {
		s.line.DashOffset = parseLength(v, (s.viewW+s.viewH)/2, s.fontSize, 0)
	}
	if v, ok := get("font-family"); ok {
		s.family = v
	}
	if v, ok := get("font-weight"); ok {
		s.weight = v
	}
	if v, ok := get("font-style"); ok {
		s.slant = v
	}
	if v, ok := get("text-anchor"); ok {
		s.anchor = v
	}
	if v, ok := get("visibility"); ok {
		s.visible = v == "visible"
	}
	if v, ok := get("paint-order"); ok {
		s.paintOrder = v
	}
	if v, ok := get("transform"); ok && n.tag != "svg" {
		s.m = s.m.Mul(parseTransform(v))
	}
	return s
}

func fillRule(v string) vg.Rule {
	if v == "evenodd" {
		return vg.EvenOdd
	}
	return vg.NonZero
}
