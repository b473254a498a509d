package vg

import "math"

type verb uint8

const (
	moveTo verb = iota
	lineTo
	quadTo
	cubeTo
	closePath
)

// Path is a sequence of sub-paths made of lines and Bézier curves.
type Path struct {
	verbs  []verb
	points []Point
}

// Empty tells whether nothing was added.
func (p *Path) Empty() bool { return len(p.verbs) == 0 }

// Len is the number of segments.
func (p *Path) Len() int { return len(p.verbs) }

// MoveTo starts a sub-path.
func (p *Path) MoveTo(x, y float64) {
	p.verbs = append(p.verbs, moveTo)
	p.points = append(p.points, Point{x, y})
}

// LineTo adds a straight line.
func (p *Path) LineTo(x, y float64) {
	p.verbs = append(p.verbs, lineTo)
	p.points = append(p.points, Point{x, y})
}

// QuadTo adds a quadratic curve.
func (p *Path) QuadTo(x1, y1, x, y float64) {
	p.verbs = append(p.verbs, quadTo)
	p.points = append(p.points, Point{x1, y1}, Point{x, y})
}

// CubeTo adds a cubic curve.
func (p *Path) CubeTo(x1, y1, x2, y2, x, y float64) {
	p.verbs = append(p.verbs, cubeTo)
	p.points = append(p.points, Point{x1, y1}, Point{x2, y2}, Point{x, y})
}

// Close ends the sub-path with a line to its start.
func (p *Path) Close() { p.verbs = append(p.verbs, closePath) }

// Append adds q, transformed by m.
func (p *Path) Append(q *Path, m Matrix) {
	p.verbs = append(p.verbs, q.verbs...)
	for _, pt := range q.points {
		p.points = append(p.points, m.Apply(pt))
	}
}

// Bounds is the box of the path itself; control points outside of it do not count.
func (p *Path) Bounds() Rect {
	if len(p.points) == 0 {
		return Rect{}
	}
	lo, hi := p.points[0], p.points[0]
	var at, first Point
	add := func(q Point) {
		lo.X, lo.Y = math.Min(lo.X, q.X), math.Min(lo.Y, q.Y)
		hi.X, hi.Y = math.Max(hi.X, q.X), math.Max(hi.Y, q.Y)
	}
	outside := func(q Point) bool { return q.X < lo.X || q.Y < lo.Y || q.X > hi.X || q.Y > hi.Y }
	k := 0
	for _, v := range p.verbs {
		switch v {
		case moveTo:
			first = p.points[k]
			fallthrough
		case lineTo:
			at = p.points[k]
			add(at)
			k++
		case quadTo:
			b, c := p.points[k], p.points[k+1]
			if add(c); outside(b) { // a quadratic curve is a cubic one
				b1 := Point{at.X + (b.X-at.X)*2/3, at.Y + (b.Y-at.Y)*2/3}
				b2 := Point{c.X + (b.X-c.X)*2/3, c.Y + (b.Y-c.Y)*2/3}
				turns(at, b1, b2, c, add)
			}
			at = c
			k += 2
		case cubeTo:
			b, c, d := p.points[k], p.points[k+1], p.points[k+2]
			if add(d); outside(b) || outside(c) {
				turns(at, b, c, d, add)
			}
			at = d
			k += 3
		case closePath:
			at = first
		}
	}
	return Rect{lo.X, lo.Y, hi.X - lo.X, hi.Y - lo.Y}
}

// turns calls add with the points at which a cubic curve is furthest to a side.
func turns(a, b, c, d Point, add func(Point)) {
	point := func(t float64) {
		if t > 0 && t < 1 { // also false for NaN
			u := 1 - t
			b0, b1, b2, b3 := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
			add(Point{b0*a.X + b1*b.X + b2*c.X + b3*d.X, b0*a.Y + b1*b.Y + b2*c.Y + b3*d.Y})
		}
	}
	axis := func(a, b, c, d float64) {
		// The derivative is 3(i t² + 2 j t + k).
		i, j, k := d-3*c+3*b-a, c-2*b+a, b-a
		if math.Abs(i) < 1e-9*(math.Abs(j)+math.Abs(k)) {
			point(-k / (2 * j))
			return
		}
		if root := j*j - i*k; root >= 0 {
			root = math.Sqrt(root)
			point((-j + root) / i)
			point((-j - root) / i)
		}
	}
	axis(a.X, b.X, c.X, d.X)
	axis(a.Y, b.Y, c.Y, d.Y)
}

// kappa makes a cubic a good quarter of a circle.
const kappa = 0.5522847498307936

// Rectangle adds a box with corners rounded by rx and ry.
func (p *Path) Rectangle(r Rect, rx, ry float64) {
	rx, ry = math.Min(rx, r.W/2), math.Min(ry, r.H/2)
	x0, y0, x1, y1 := r.X, r.Y, r.X+r.W, r.Y+r.H
	if rx <= 0 || ry <= 0 {
		p.MoveTo(x0, y0)
		p.LineTo(x1, y0)
		p.LineTo(x1, y1)
		p.LineTo(x0, y1)
		p.Close()
		return
	}
	kx, ky := rx*(1-kappa), ry*(1-kappa)
	p.MoveTo(x0+rx, y0)
	p.LineTo(x1-rx, y0)
	p.CubeTo(x1-kx, y0, x1, y0+ky, x1, y0+ry)
	p.LineTo(x1, y1-ry)
	p.CubeTo(x1, y1-ky, x1-kx, y1, x1-rx, y1)
	p.LineTo(x0+rx, y1)
	p.CubeTo(x0+kx, y1, x0, y1-ky, x0, y1-ry)
	p.LineTo(x0, y0+ry)
	p.CubeTo(x0, y0+ky, x0+kx, y0, x0+rx, y0)
	p.Close()
}

// Ellipse adds an ellipse about (cx, cy).
func (p *Path) Ellipse(cx, cy, rx, ry float64) {
	kx, ky := rx*kappa, ry*kappa
	p.MoveTo(cx+rx, cy)
	p.CubeTo(cx+rx, cy+ky, cx+kx, cy+ry, cx, cy+ry)
	p.CubeTo(cx-kx, cy+ry, cx-rx, cy+ky, cx-rx, cy)
	p.CubeTo(cx-rx, cy-ky, cx-kx, cy-ry, cx, cy-ry)
	p.CubeTo(cx+kx, cy-ry, cx+rx, cy-ky, cx+rx, cy)
	p.Close()
}

// Polygon adds a closed polygon.
func (p *Path) Polygon(points ...Point) {
	for i, q := range points {
		if i == 0 {
			p.MoveTo(q.X, q.Y)
		} else {
			p.LineTo(q.X, q.Y)
		}
	}
	if len(points) > 0 {
		p.Close()
	}
}

// ArcTo adds SVG's elliptical arc from the current point.
func (p *Path) ArcTo(from Point, rx, ry, rotation float64, large, sweep bool, to Point) {
	rx, ry = math.Abs(rx), math.Abs(ry)
	if rx == 0 || ry == 0 || from == to {
		p.LineTo(to.X, to.Y)
		return
	}
	sin, cos := math.Sincos(rotation)
	dx, dy := (from.X-to.X)/2, (from.Y-to.Y)/2
	x, y := cos*dx+sin*dy, -sin*dx+cos*dy
	if l := x*x/(rx*rx) + y*y/(ry*ry); l > 1 {
		rx, ry = rx*math.Sqrt(l), ry*math.Sqrt(l)
	}
	n := rx*rx*ry*ry - rx*rx*y*y - ry*ry*x*x
	k := math.Sqrt(math.Max(0, n/(rx*rx*y*y+ry*ry*x*x)))
	if large == sweep {
		k = -k
	}
	cx1, cy1 := k*rx*y/ry, -k*ry*x/rx
	cx := cos*cx1 - sin*cy1 + (from.X+to.X)/2
	cy := sin*cx1 + cos*cy1 + (from.Y+to.Y)/2
	start := math.Atan2((y-cy1)/ry, (x-cx1)/rx)
	delta := math.Atan2((-y-cy1)/ry, (-x-cx1)/rx) - start
	if sweep && delta < 0 {
		delta += 2 * math.Pi
	} else if !sweep && delta > 0 {
		delta -= 2 * math.Pi
	}
	if math.IsNaN(delta) || math.IsInf(delta, 0) {
		p.LineTo(to.X, to.Y)
		return
	}
	parts := max(1, int(math.Ceil(math.Abs(delta)/(math.Pi/2)-1e-9)))
	step := delta / float64(parts)
	t := 4.0 / 3.0 * math.Tan(step/4)
	at := func(u, v float64) Point {
		return Point{cx + cos*rx*u - sin*ry*v, cy + sin*rx*u + cos*ry*v}
	}
	for i := range parts {
		s0, c0 := math.Sincos(start + float64(i)*step)
		s1, c1 := math.Sincos(start + float64(i+1)*step)
		a, b, e := at(c0-t*s0, s0+t*c0), at(c1+t*s1, s1-t*c1), at(c1, s1)
		if i == parts-1 {
			e = to
		}
		p.CubeTo(a.X, a.Y, b.X, b.Y, e.X, e.Y)
	}
}
