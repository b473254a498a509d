package vg

import (
	"math"
	"slices"
)

// Cap is the form of a line's ends.
type Cap uint8

// Join is the form of a line's corners.
type Join uint8

// As in SVG.
const (
	ButtCap Cap = iota
	RoundCap
	SquareCap
)

// As in SVG.
const (
	MiterJoin Join = iota
	RoundJoin
	BevelJoin
)

// Stroke is how a path is drawn as a line.
type Stroke struct {
	Width      float64
	Cap        Cap
	Join       Join
	MiterLimit float64 // 0 means 4
	Dash       []float64
	DashOffset float64
}

// StrokeMask is the coverage of the line along p. The line is widened in the
// path's own space and transformed after, so m may skew it.
func StrokeMask(p *Path, m Matrix, s Stroke, w, h int) *Mask {
	return rasterise(strokeLines(p, m, s), NonZero, w, h)
}

// strokeLines returns outlines that together are the line along p.
func strokeLines(p *Path, m Matrix, s Stroke) []polyline {
	scale := m.Mean()
	if !(s.Width > 0) || scale == 0 || math.IsNaN(scale) {
		return nil
	}
	// Flatten at the final size, then go back to the path's space.
	big := Scale(scale, scale)
	half := s.Width * scale / 2
	lines := flatten(p, big)
	if len(s.Dash) > 0 {
		lines = dash(lines, s.Dash, s.DashOffset, scale)
	}
	n := 0
	for _, l := range lines {
		n += len(l.points)
	}
	o := &outlines{lines: make([]polyline, 0, 2*n+2), points: make([]Point, 0, 8*n+64)}
	for _, l := range lines {
		o.widen(l, half, s)
	}
	back := m.Mul(Scale(1/scale, 1/scale))
	for _, l := range o.lines {
		for i, pt := range l.points {
			l.points[i] = back.Apply(pt)
		}
	}
	return o.lines
}

// outlines collects polygons that all turn clockwise. Their points lie in few arrays.
type outlines struct {
	lines  []polyline
	points []Point
}

// add appends a polygon.
func (o *outlines) add(points ...Point) {
	start := len(o.points)
	if start+len(points) > cap(o.points) {
		o.points, start = make([]Point, 0, 2*cap(o.points)+len(points)), 0
	}
	area := 0.0
	for i, p := range points {
		q := points[(i+1)%len(points)]
		area += p.X*q.Y - q.X*p.Y
	}
	o.points = append(o.points, points...)
	part := o.points[start:len(o.points):len(o.points)]
	if area < 0 {
		slices.Reverse(part)
	}
	o.lines = append(o.lines, polyline{points: part, closed: true})
}

// widen adds polygons that together cover the line.
func (o *outlines) widen(l polyline, r float64, s Stroke) {
	pts := make([]Point, 0, len(l.points))
	for _, p := range l.points {
		if n := len(pts); n == 0 || math.Hypot(p.X-pts[n-1].X, p.Y-pts[n-1].Y) > 1e-6 {
			pts = append(pts, p)
		}
	}
	if n := len(pts); l.closed && n > 1 && math.Hypot(pts[0].X-pts[n-1].X, pts[0].Y-pts[n-1].Y) < 1e-6 {
		pts = pts[:n-1]
	}
	if len(pts) == 1 {
		c := pts[0]
		switch s.Cap {
		case RoundCap:
			o.disc(c, r)
		case SquareCap:
			o.add(Point{c.X - r, c.Y - r}, Point{c.X + r, c.Y - r},
				Point{c.X + r, c.Y + r}, Point{c.X - r, c.Y + r})
		}
		return
	}
	if len(pts) < 2 {
		return
	}
	n := len(pts)
	segments := n - 1
	if l.closed {
		segments = n
	}
	for i := range segments {
		a, b := pts[i], pts[(i+1)%n]
		d := unit(a, b)
		if !l.closed && s.Cap == SquareCap {
			if i == 0 {
				a = Point{a.X - d.X*r, a.Y - d.Y*r}
			}
			if i == segments-1 {
				b = Point{b.X + d.X*r, b.Y + d.Y*r}
			}
		}
		nx, ny := d.Y*r, -d.X*r
		o.add(Point{a.X + nx, a.Y + ny}, Point{b.X + nx, b.Y + ny},
			Point{b.X - nx, b.Y - ny}, Point{a.X - nx, a.Y - ny})
		if l.closed || i < segments-1 {
			c := pts[(i+1)%n]
			o.join(c, d, unit(c, pts[(i+2)%n]), r, s)
		}
	}
	if !l.closed && s.Cap == RoundCap {
		o.disc(pts[0], r)
		o.disc(pts[n-1], r)
	}
}

// join adds what is missing on the outer side of a corner at c, where direction d
// becomes e. The inner side is covered by the two segments.
func (o *outlines) join(c, d, e Point, r float64, s Stroke) {
	cross, dot := d.X*e.Y-d.Y*e.X, d.X*e.X+d.Y*e.Y
	if math.Abs(cross) < 1e-4 && dot > 0 {
		return
	}
	side := r
	if cross < 0 {
		side = -r
	}
	a := Point{c.X + d.Y*side, c.Y - d.X*side}
	b := Point{c.X + e.Y*side, c.Y - e.X*side}
	if dot > 0.97 { // part of a curve
		if r < 0.3 {
			return
		}
		middle := unit(c, Point{(a.X + b.X) / 2, (a.Y + b.Y) / 2})
		o.add(c, a, Point{c.X + middle.X*r, c.Y + middle.Y*r}, b)
		return
	}
	switch s.Join {
	case RoundJoin:
		if r >= 0.3 {
			o.fan(c, a, r, math.Atan2(cross, dot))
		}
		return
	case MiterJoin:
		limit := s.MiterLimit
		if limit < 1 {
			limit = 4
		}
		if half := math.Sqrt(math.Max(0, (1+dot)/2)); half > 1e-6 && 1/half <= limit {
			mx, my := (a.X+b.X)/2-c.X, (a.Y+b.Y)/2-c.Y
			if l := math.Hypot(mx, my); l > 1e-9 {
				k := r / half / l
				o.add(c, a, Point{c.X + mx*k, c.Y + my*k}, b)
				return
			}
		}
	}
	o.add(c, a, b)
}

func unit(a, b Point) Point {
	l := math.Hypot(b.X-a.X, b.Y-a.Y)
	if l == 0 {
		return Point{1, 0}
	}
	return Point{(b.X - a.X) / l, (b.Y - a.Y) / l}
}

// sides is how many lines keep a circle within about 0.07 pixels.
func sides(r float64) int { return min(128, max(8, int(8*math.Sqrt(r)+4))) }

// fan adds the part of a disc about c that begins at a and turns by an angle.
func (o *outlines) fan(c, a Point, r, angle float64) {
	n := max(1, int(math.Ceil(math.Abs(angle)/(2*math.Pi)*float64(sides(r)))))
	var room [130]Point
	points := append(room[:0], c, a)
	for i := 1; i <= n; i++ {
		s, k := math.Sincos(angle * float64(i) / float64(n))
		x, y := a.X-c.X, a.Y-c.Y
		points = append(points, Point{c.X + x*k - y*s, c.Y + x*s + y*k})
	}
	o.add(points...)
}

func (o *outlines) disc(c Point, r float64) {
	n := sides(r)
	var room [128]Point
	for i := range n {
		s, k := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		room[i] = Point{c.X + r*k, c.Y + r*s}
	}
	o.add(room[:n]...)
}

// dash cuts lines into pieces.
func dash(lines []polyline, pattern []float64, offset, scale float64) []polyline {
	total := 0.0
	for _, d := range pattern {
		if d < 0 || math.IsNaN(d) {
			return lines
		}
		total += d * scale
	}
	if len(pattern)%2 == 1 {
		pattern = append(append([]float64{}, pattern...), pattern...)
		total *= 2
	}
	if total < 0.1 {
		return lines
	}
	var out []polyline
	for _, l := range lines {
		pts := l.points
		if l.closed && len(pts) > 0 {
			pts = append(append([]Point{}, pts...), pts[0])
		}
		at := math.Mod(offset*scale, total)
		if at < 0 {
			at += total
		}
		k := 0
		for at >= pattern[k]*scale {
			at -= pattern[k] * scale
			k = (k + 1) % len(pattern)
		}
		left := pattern[k]*scale - at
		var cur []Point
		for i := 1; i < len(pts); i++ {
			a, b := pts[i-1], pts[i]
			length := math.Hypot(b.X-a.X, b.Y-a.Y)
			d := unit(a, b)
			pos := 0.0
			if k%2 == 0 && cur == nil {
				cur = []Point{a}
			}
			for pos+left < length && len(out) < 20_000 {
				pos += left
				q := Point{a.X + d.X*pos, a.Y + d.Y*pos}
				if k%2 == 0 {
					out = append(out, polyline{points: append(cur, q)})
					cur = nil
				} else {
					cur = []Point{q}
				}
				k = (k + 1) % len(pattern)
				left = pattern[k] * scale
				if left == 0 {
					left = 1e-9
				}
			}
			left -= length - pos
			if k%2 == 0 {
				cur = append(cur, b)
			}
		}
		if len(cur) > 1 {
			out = append(out, polyline{points: cur})
		}
	}
	return out
}
