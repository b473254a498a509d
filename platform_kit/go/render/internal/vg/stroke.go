package vg

import "math"

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
	scale := m.Mean()
	if !(s.Width > 0) || scale == 0 || math.IsNaN(scale) {
		return &Mask{}
	}
	// Flatten at the final size, then go back to the path's space.
	big := Scale(scale, scale)
	var out []polyline
	half := s.Width * scale / 2
	lines := flatten(p, big)
	if len(s.Dash) > 0 {
		lines = dash(lines, s.Dash, s.DashOffset, scale)
	}
	for _, l := range lines {
		out = widen(out, l, half, s)
	}
	back := m.Mul(Scale(1/scale, 1/scale))
	for _, l := range out {
		for i, pt := range l.points {
			l.points[i] = back.Apply(pt)
		}
	}
	return rasterise(out, NonZero, w, h)
}

// widen appends polygons that together cover the line; all turn the same way.
func widen(out []polyline, l polyline, r float64, s Stroke) []polyline {
	pts := l.points[:0:0]
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
			return append(out, disc(c, r))
		case SquareCap:
			return append(out, polygon(Point{c.X - r, c.Y - r}, Point{c.X + r, c.Y - r},
				Point{c.X + r, c.Y + r}, Point{c.X - r, c.Y + r}))
		}
		return out
	}
	if len(pts) < 2 {
		return out
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
		out = append(out, polygon(Point{a.X + nx, a.Y + ny}, Point{b.X + nx, b.Y + ny},
			Point{b.X - nx, b.Y - ny}, Point{a.X - nx, a.Y - ny}))
		if l.closed || i < segments-1 {
			c := pts[(i+1)%n]
			out = join(out, c, d, unit(c, pts[(i+2)%n]), r, s)
		}
	}
	if !l.closed && s.Cap == RoundCap {
		out = append(out, disc(pts[0], r), disc(pts[n-1], r))
	}
	return out
}

func join(out []polyline, c, d, e Point, r float64, s Stroke) []polyline {
	cross, dot := d.X*e.Y-d.Y*e.X, d.X*e.X+d.Y*e.Y
	if math.Abs(cross) < 1e-4 && dot > 0 {
		return out
	}
	if s.Join == RoundJoin || dot > 0.97 {
		if r < 0.3 {
			return out
		}
		return append(out, disc(c, r))
	}
	side := r // the outer side of the turn
	if cross > 0 {
		side = r
	} else {
		side = -r
	}
	a := Point{c.X + d.Y*side, c.Y - d.X*side}
	b := Point{c.X + e.Y*side, c.Y - e.X*side}
	limit := s.MiterLimit
	if limit < 1 {
		limit = 4
	}
	if s.Join == MiterJoin {
		if half := math.Sqrt(math.Max(0, (1+dot)/2)); half > 1e-6 && 1/half <= limit {
			mx, my := (a.X+b.X)/2-c.X, (a.Y+b.Y)/2-c.Y
			if l := math.Hypot(mx, my); l > 1e-9 {
				k := r / half / l
				return append(out, polygon(c, a, Point{c.X + mx*k, c.Y + my*k}, b))
			}
		}
	}
	return append(out, polygon(c, a, b))
}

func unit(a, b Point) Point {
	l := math.Hypot(b.X-a.X, b.Y-a.Y)
	if l == 0 {
		return Point{1, 0}
	}
	return Point{(b.X - a.X) / l, (b.Y - a.Y) / l}
}

// polygon returns a closed outline that turns clockwise.
func polygon(points ...Point) polyline {
	area := 0.0
	for i, p := range points {
		q := points[(i+1)%len(points)]
		area += p.X*q.Y - q.X*p.Y
	}
	if area < 0 {
		for i, j := 0, len(points)-1; i < j; i, j = i+1, j-1 {
			points[i], points[j] = points[j], points[i]
		}
	}
	return polyline{points: points, closed: true}
}

func disc(c Point, r float64) polyline {
	n := min(96, max(8, int(4*math.Sqrt(r)+6)))
	points := make([]Point, n)
	for i := range points {
		s, k := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		points[i] = Point{c.X + r*k, c.Y + r*s}
	}
	return polyline{points: points, closed: true}
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
