package vg

import "math"

// polyline is a flattened sub-path.
type polyline struct {
	points []Point
	closed bool
}

// flatten turns p, transformed by m, into straight lines.
func flatten(p *Path, m Matrix) []polyline {
	var out []polyline
	all := make([]Point, 0, 4*len(p.points)+8) // every sub-path is a part of it
	cur := polyline{points: all}
	end := func() {
		if n := len(cur.points); n > 0 {
			rest := cur.points[n:]
			cur.points = cur.points[:n:n]
			out = append(out, cur)
			cur = polyline{points: rest}
		}
		cur.closed = false
	}
	var first Point
	k := 0
	for _, v := range p.verbs {
		switch v {
		case moveTo:
			end()
			first = m.Apply(p.points[k])
			cur.points = append(cur.points, first)
			k++
		case lineTo:
			cur.points = append(cur.points, m.Apply(p.points[k]))
			k++
		case quadTo:
			a, b, c := last(cur, first), m.Apply(p.points[k]), m.Apply(p.points[k+1])
			dx, dy := a.X-2*b.X+c.X, a.Y-2*b.Y+c.Y
			n := steps(math.Hypot(dx, dy) * 0.25)
			for i := 1; i <= n; i++ {
				t := float64(i) / float64(n)
				u := 1 - t
				cur.points = append(cur.points, Point{
					u*u*a.X + 2*u*t*b.X + t*t*c.X, u*u*a.Y + 2*u*t*b.Y + t*t*c.Y,
				})
			}
			k += 2
		case cubeTo:
			a := last(cur, first)
			b, c, d := m.Apply(p.points[k]), m.Apply(p.points[k+1]), m.Apply(p.points[k+2])
			d1 := math.Hypot(a.X-2*b.X+c.X, a.Y-2*b.Y+c.Y)
			d2 := math.Hypot(b.X-2*c.X+d.X, b.Y-2*c.Y+d.Y)
			n := steps(math.Max(d1, d2) * 0.75)
			for i := 1; i <= n; i++ {
				t := float64(i) / float64(n)
				u := 1 - t
				b0, b1, b2, b3 := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
				cur.points = append(cur.points, Point{
					b0*a.X + b1*b.X + b2*c.X + b3*d.X, b0*a.Y + b1*b.Y + b2*c.Y + b3*d.Y,
				})
			}
			k += 3
		case closePath:
			cur.closed = true
			end()
		}
	}
	end()
	return out
}

func last(l polyline, first Point) Point {
	if len(l.points) == 0 {
		return first
	}
	return l.points[len(l.points)-1]
}

// steps is how many lines keep a curve within about 0.06 pixels.
func steps(deviation float64) int {
	if !(deviation < 1e6) {
		return 1
	}
	return min(64, 1+int(math.Sqrt(deviation/0.06)))
}
