package vg

import (
	"math"
	"slices"
)

// Paint gives the colours of a row of pixels.
type Paint interface {
	row(x, y int, out []premul)
}

// Solid paints one colour.
type Solid Color

func (s Solid) row(_, _ int, out []premul) {
	c := Color(s).premul()
	for i := range out {
		out[i] = c
	}
}

// Spread is what a gradient does outside of its range.
type Spread uint8

// As in SVG.
const (
	Pad Spread = iota
	Reflect
	Repeat
)

// Stop is one colour of a gradient, at 0 to 1.
type Stop struct {
	At    float64
	Color Color
}

// tableSize is how many colours a gradient is made of.
const tableSize = 512

// Gradient paints a linear or a radial gradient.
type Gradient struct {
	inverse        Matrix
	radial         bool
	from, to       Point // linear: the axis; radial: focus and centre
	radius         float64
	spread         Spread
	table          [tableSize]premul
	dx, dy, length float64
}

// LinearGradient runs from one point to another; m maps its space to pixels.
func LinearGradient(from, to Point, stops []Stop, spread Spread, m Matrix) Paint {
	g := &Gradient{from: from, to: to, spread: spread}
	g.dx, g.dy = to.X-from.X, to.Y-from.Y
	g.length = g.dx*g.dx + g.dy*g.dy
	return g.prepare(stops, m, g.length == 0)
}

// RadialGradient runs from a focus to a circle; m maps its space to pixels.
func RadialGradient(focus, center Point, radius float64, stops []Stop, spread Spread, m Matrix) Paint {
	if d := math.Hypot(focus.X-center.X, focus.Y-center.Y); d > radius*0.999 && d > 0 {
		k := radius * 0.999 / d
		focus = Point{center.X + (focus.X-center.X)*k, center.Y + (focus.Y-center.Y)*k}
	}
	g := &Gradient{radial: true, from: focus, to: center, radius: radius, spread: spread}
	return g.prepare(stops, m, radius <= 0)
}

func (g *Gradient) prepare(stops []Stop, m Matrix, degenerate bool) Paint {
	if len(stops) == 0 {
		return Solid{}
	}
	inverse, ok := m.Invert()
	if !ok || degenerate {
		return Solid(stops[len(stops)-1].Color)
	}
	g.inverse = inverse
	stops = slices.Clone(stops)
	for i := range stops {
		stops[i].At = min(max(stops[i].At, 0), 1)
		if i > 0 {
			stops[i].At = max(stops[i].At, stops[i-1].At)
		}
	}
	k := 0
	for i := range g.table {
		t := float64(i) / float64(len(g.table)-1)
		for k < len(stops) && stops[k].At <= t {
			k++
		}
		switch {
		case k == 0:
			g.table[i] = stops[0].Color.premul()
		case k == len(stops):
			g.table[i] = stops[k-1].Color.premul()
		default:
			a, b := stops[k-1], stops[k]
			g.table[i] = a.Color.Mix(b.Color, (t-a.At)/(b.At-a.At)).premul()
		}
	}
	return g
}

func (g *Gradient) row(x, y int, out []premul) {
	p := g.inverse.Apply(Point{float64(x) + 0.5, float64(y) + 0.5})
	stepX, stepY := g.inverse.A, g.inverse.B
	if !g.radial {
		t := ((p.X-g.from.X)*g.dx + (p.Y-g.from.Y)*g.dy) / g.length
		step := (stepX*g.dx + stepY*g.dy) / g.length
		if math.Abs(step)*float64(len(out)) < 0.25/tableSize { // the same colour all along
			c := g.table[g.index(t)]
			for i := range out {
				out[i] = c
			}
			return
		}
		for i := range out {
			out[i] = g.table[g.index(t+float64(i)*step)]
		}
		return
	}
	dx, dy := p.X-g.from.X, p.Y-g.from.Y
	fx, fy := g.to.X-g.from.X, g.to.Y-g.from.Y
	if fx == 0 && fy == 0 && g.spread == Pad { // the usual case, without focus
		k := (tableSize - 1) / g.radius
		for i := range out {
			u, v := dx+float64(i)*stepX, dy+float64(i)*stepY
			n := int(math.Sqrt(u*u+v*v)*k + 0.5)
			if uint(n) >= tableSize {
				n = tableSize - 1
			}
			out[i] = g.table[n]
		}
		return
	}
	a := g.radius*g.radius - fx*fx - fy*fy
	for i := range out {
		u, v := dx+float64(i)*stepX, dy+float64(i)*stepY
		b := u*fx + v*fy
		out[i] = g.table[g.index((math.Sqrt(math.Max(b*b+a*(u*u+v*v), 0))-b)/a)]
	}
}

func (g *Gradient) index(t float64) int {
	switch g.spread {
	case Reflect:
		t = math.Abs(math.Mod(t, 2))
		if t > 1 {
			t = 2 - t
		}
	case Repeat:
		t -= math.Floor(t)
	}
	if !(t > 0) { // also NaN
		return 0
	}
	if t >= 1 {
		return tableSize - 1
	}
	return int(t*(tableSize-1) + 0.5)
}

// Picture paints a canvas, transformed by a matrix, with smooth sampling.
type Picture struct {
	src     *Canvas
	inverse Matrix
	tile    bool
}

// NewPicture paints src; m maps its pixels to the destination's. tile repeats it.
func NewPicture(src *Canvas, m Matrix, tile bool) Paint {
	inverse, ok := m.Invert()
	if !ok || src.W == 0 || src.H == 0 {
		return Solid{}
	}
	return &Picture{src, inverse, tile}
}

// pixels returns the pixels of a row as they are, or nil if they have to be worked out.
func (p *Picture) pixels(x, y, n int) []uint8 {
	m := p.inverse
	if p.tile || m.A != 1 || m.D != 1 || m.B != 0 || m.C != 0 || m.E != math.Trunc(m.E) || m.F != math.Trunc(m.F) {
		return nil
	}
	sx, sy := x+int(m.E), y+int(m.F)
	if sx < 0 || sy < 0 || sx+n > p.src.W || sy >= p.src.H {
		return nil
	}
	return p.src.Pix[4*(sy*p.src.W+sx):][:4*n]
}

func (p *Picture) row(x, y int, out []premul) {
	if m := p.inverse; !p.tile && m.A == 1 && m.D == 1 && m.B == 0 && m.C == 0 &&
		m.E == math.Trunc(m.E) && m.F == math.Trunc(m.F) {
		sx, sy := x+int(m.E), y+int(m.F)
		for i := range out {
			out[i] = p.src.at(sx+i, sy)
		}
		return
	}
	for i := range out {
		q := p.inverse.Apply(Point{float64(x+i) + 0.5, float64(y) + 0.5})
		fx, fy := q.X-0.5, q.Y-0.5
		if !finite(q) {
			out[i] = 0
			continue
		}
		ix, iy := int(math.Floor(fx)), int(math.Floor(fy))
		u, v := int(256*(fx-float64(ix))), int(256*(fy-float64(iy)))
		a, b, c, d := p.pixel(ix, iy), p.pixel(ix+1, iy), p.pixel(ix, iy+1), p.pixel(ix+1, iy+1)
		mix := func(shift int) uint8 {
			top := int(a>>shift&255)*(256-u) + int(b>>shift&255)*u
			bottom := int(c>>shift&255)*(256-u) + int(d>>shift&255)*u
			return uint8((top*(256-v) + bottom*v + 32768) >> 16)
		}
		out[i] = pixel(mix(0), mix(8), mix(16), mix(24))
	}
}

func (p *Picture) pixel(x, y int) premul {
	if p.tile {
		x, y = ((x%p.src.W)+p.src.W)%p.src.W, ((y%p.src.H)+p.src.H)%p.src.H
	}
	return p.src.at(x, y)
}
