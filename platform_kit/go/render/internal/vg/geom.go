// Package vg is a small vector graphics kernel: paths, an exact-winding
// anti-aliasing rasteriser, strokes, paints and a canvas. It uses no
// architecture-specific code, so the same input gives the same pixels.
package vg

import "math"

// Point is a position in pixels.
type Point struct{ X, Y float64 }

// Rect is a box with its origin at the top left.
type Rect struct{ X, Y, W, H float64 }

// Inset returns r made smaller by d on every side.
func (r Rect) Inset(d float64) Rect {
	return Rect{r.X + d, r.Y + d, math.Max(0, r.W-2*d), math.Max(0, r.H-2*d)}
}

// Empty tells whether r has no area.
func (r Rect) Empty() bool { return !(r.W > 0 && r.H > 0) }

// Matrix is an affine transformation: x' = A*x + C*y + E, y' = B*x + D*y + F.
type Matrix struct{ A, B, C, D, E, F float64 }

// Identity leaves points where they are.
var Identity = Matrix{A: 1, D: 1}

// Translate moves by (x, y).
func Translate(x, y float64) Matrix { return Matrix{1, 0, 0, 1, x, y} }

// Scale scales by (x, y) about the origin.
func Scale(x, y float64) Matrix { return Matrix{A: x, D: y} }

// Rotate turns by the angle in radians about the origin.
func Rotate(a float64) Matrix {
	s, c := math.Sincos(a)
	return Matrix{c, s, -s, c, 0, 0}
}

// Mul returns the transformation that applies n first and m after it.
func (m Matrix) Mul(n Matrix) Matrix {
	return Matrix{
		m.A*n.A + m.C*n.B, m.B*n.A + m.D*n.B,
		m.A*n.C + m.C*n.D, m.B*n.C + m.D*n.D,
		m.A*n.E + m.C*n.F + m.E, m.B*n.E + m.D*n.F + m.F,
	}
}

// Apply transforms a point.
func (m Matrix) Apply(p Point) Point {
	return Point{m.A*p.X + m.C*p.Y + m.E, m.B*p.X + m.D*p.Y + m.F}
}

// Det is the factor by which m scales areas, negative if it mirrors.
func (m Matrix) Det() float64 { return m.A*m.D - m.B*m.C }

// Invert returns the inverse, and false if there is none.
func (m Matrix) Invert() (Matrix, bool) {
	d := m.Det()
	if d == 0 || math.IsNaN(d) || math.IsInf(d, 0) || math.Abs(d) < 1e-18 {
		return Identity, false
	}
	return Matrix{
		m.D / d, -m.B / d, -m.C / d, m.A / d,
		(m.C*m.F - m.D*m.E) / d, (m.B*m.E - m.A*m.F) / d,
	}, true
}

// Mean is the mean factor by which m scales lengths.
func (m Matrix) Mean() float64 { return math.Sqrt(math.Abs(m.Det())) }
