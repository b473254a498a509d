package svg

import (
	"math"

	"platform-kit/render/internal/vg"
)

// outline is the path of a basic shape, or nil.
func outline(n *node, s *state) *vg.Path {
	x := func(name string) float64 { return parseLength(n.style[name], s.viewW, s.fontSize, 0) }
	y := func(name string) float64 { return parseLength(n.style[name], s.viewH, s.fontSize, 0) }
	p := &vg.Path{}
	switch n.tag {
	case "path":
		p, _ = vg.ParsePath(n.style["d"])
	case "rect":
		r := vg.Rect{X: x("x"), Y: y("y"), W: x("width"), H: y("height")}
		if r.Empty() {
			return nil
		}
		rx := parseLength(n.style["rx"], s.viewW, s.fontSize, math.NaN())
		ry := parseLength(n.style["ry"], s.viewH, s.fontSize, math.NaN())
		if math.IsNaN(rx) {
			rx = ry
		}
		if math.IsNaN(ry) {
			ry = rx
		}
		if math.IsNaN(rx) {
			rx, ry = 0, 0
		}
		p.Rectangle(r, rx, ry)
	case "circle":
		r := parseLength(n.style["r"], math.Sqrt((s.viewW*s.viewW+s.viewH*s.viewH)/2), s.fontSize, 0)
		if !(r > 0) {
			return nil
		}
		p.Ellipse(x("cx"), y("cy"), r, r)
	case "ellipse":
		rx, ry := x("rx"), y("ry")
		if n.style["ry"] == "" {
			ry = rx
		} else if n.style["rx"] == "" {
			rx = ry
		}
		if !(rx > 0 && ry > 0) {
			return nil
		}
		p.Ellipse(x("cx"), y("cy"), rx, ry)
	case "line":
		p.MoveTo(x("x1"), y("y1"))
		p.LineTo(x("x2"), y("y2"))
	case "polyline", "polygon":
		v := vg.Numbers(n.style["points"])
		for i := 0; i+1 < len(v); i += 2 {
			if i == 0 {
				p.MoveTo(v[0], v[1])
			} else {
				p.LineTo(v[i], v[i+1])
			}
		}
		if n.tag == "polygon" && !p.Empty() {
			p.Close()
		}
	default:
		return nil
	}
	if p.Empty() {
		return nil
	}
	return p
}
