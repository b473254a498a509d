package vg

import (
	"cmp"
	"math"
	"slices"
)

// Rule decides what is inside a path.
type Rule uint8

// The two rules of SVG.
const (
	NonZero Rule = iota
	EvenOdd
)

// Mask is coverage, 0 to 255, of a box of pixels.
type Mask struct {
	X, Y, W, H int
	Pix        []uint8
}

// At returns the coverage at a pixel, 0 outside of the box.
func (m *Mask) At(x, y int) uint8 {
	x, y = x-m.X, y-m.Y
	if x < 0 || y < 0 || x >= m.W || y >= m.H {
		return 0
	}
	return m.Pix[y*m.W+x]
}

// Intersect returns the product of two masks.
func (m *Mask) Intersect(o *Mask) *Mask {
	if o == nil {
		return m
	}
	out := &Mask{X: m.X, Y: m.Y, W: m.W, H: m.H, Pix: make([]uint8, len(m.Pix))}
	for y := range m.H {
		for x := range m.W {
			if c := uint32(m.Pix[y*m.W+x]); c != 0 {
				out.Pix[y*m.W+x] = uint8(c * uint32(o.At(x+m.X, y+m.Y)) / 255)
			}
		}
	}
	return out
}

type edge struct {
	x0, y0, x1, y1 float64 // y0 < y1
	dir            int8
}

type crossing struct {
	x   float64
	dir int8
}

// sub is the number of sample lines in a row of pixels; across, coverage is exact.
const sub = 8

// rasterise fills closed outlines within a box of pixels. Every winding is
// counted exactly, so overlaps in either direction come out right.
func rasterise(lines []polyline, rule Rule, clipW, clipH int) *Mask {
	var edges []edge
	minX, minY, maxX, maxY := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	add := func(a, b Point) {
		if !finite(a) || !finite(b) {
			return
		}
		minX, maxX = math.Min(minX, math.Min(a.X, b.X)), math.Max(maxX, math.Max(a.X, b.X))
		minY, maxY = math.Min(minY, math.Min(a.Y, b.Y)), math.Max(maxY, math.Max(a.Y, b.Y))
		switch {
		case a.Y < b.Y:
			edges = append(edges, edge{a.X, a.Y, b.X, b.Y, 1})
		case a.Y > b.Y:
			edges = append(edges, edge{b.X, b.Y, a.X, a.Y, -1})
		}
	}
	for _, l := range lines {
		for i := 1; i < len(l.points); i++ {
			add(l.points[i-1], l.points[i])
		}
		if n := len(l.points); n > 1 {
			add(l.points[n-1], l.points[0])
		}
	}
	x0 := int(math.Floor(math.Max(minX, 0)))
	y0 := int(math.Floor(math.Max(minY, 0)))
	x1 := int(math.Ceil(math.Min(maxX, float64(clipW))))
	y1 := int(math.Ceil(math.Min(maxY, float64(clipH))))
	if len(edges) == 0 || x1 <= x0 || y1 <= y0 {
		return &Mask{}
	}
	m := &Mask{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}
	m.Pix = make([]uint8, m.W*m.H)
	slices.SortFunc(edges, func(a, b edge) int {
		switch {
		case a.y0 < b.y0:
			return -1
		case a.y0 > b.y0:
			return 1
		}
		return 0
	})
	acc := make([]float32, m.W+2)
	var active []edge
	var hits []crossing
	next := 0
	left, right := float64(x0), float64(x1)
	for y := y0; y < y1; y++ {
		first, final := m.W, 0 // the pixels of this row that are covered
		for s := range sub {
			sy := float64(y) + (float64(s)+0.5)/sub
			for next < len(edges) && edges[next].y0 <= sy {
				if edges[next].y1 > sy {
					active = append(active, edges[next])
				}
				next++
			}
			hits = hits[:0]
			kept := active[:0]
			for _, e := range active {
				if e.y1 <= sy {
					continue
				}
				kept = append(kept, e)
				x := e.x0 + (sy-e.y0)*(e.x1-e.x0)/(e.y1-e.y0)
				hits = append(hits, crossing{min(max(x, left), right) - left, e.dir})
			}
			active = kept
			if len(hits) > 64 {
				slices.SortFunc(hits, func(a, b crossing) int { return cmp.Compare(a.x, b.x) })
			}
			for i := 1; i < len(hits); i++ { // few, or sorted already
				for j := i; j > 0 && hits[j].x < hits[j-1].x; j-- {
					hits[j], hits[j-1] = hits[j-1], hits[j]
				}
			}
			wind := 0
			for i := 0; i+1 < len(hits); i++ {
				wind += int(hits[i].dir)
				inside := wind != 0
				if rule == EvenOdd {
					inside = i&1 == 0
				}
				if inside && hits[i+1].x > hits[i].x {
					span(acc, hits[i].x, hits[i+1].x)
					first, final = min(first, int(hits[i].x)), max(final, int(hits[i+1].x)+2)
				}
			}
		}
		if first >= final {
			continue
		}
		final = min(final, m.W)
		row, part := m.Pix[(y-y0)*m.W+first:(y-y0)*m.W+final], acc[first:final]
		sum, level := float32(0), uint8(0)
		for x := range row {
			if part[x] != 0 {
				sum += part[x]
				part[x] = 0
				level = uint8(min(max(sum, 0), 1)*255 + 0.5)
			}
			row[x] = level
		}
		acc[m.W], acc[m.W+1] = 0, 0
	}
	return m
}

// span adds [a, b) of one sample line to acc, whose running sum is coverage.
func span(acc []float32, a, b float64) {
	const w = float32(1.0 / sub)
	i, j := int(a), int(b)
	fa, fb := float32(a-float64(i)), float32(b-float64(j))
	acc[i] += w * (1 - fa)
	acc[i+1] += w * fa
	acc[j] -= w * (1 - fb)
	acc[j+1] -= w * fb
}

func finite(p Point) bool {
	return math.Abs(p.X) < 1e7 && math.Abs(p.Y) < 1e7 // also false for NaN
}

// Effort says how much work filling p on a canvas h pixels high is: the rows
// that its edges cross, and the edges.
func Effort(p *Path, m Matrix, h int) int {
	work := 0.0
	for _, l := range flatten(p, m) {
		work += 16 * float64(len(l.points))
		for i := 1; i < len(l.points); i++ {
			a, b := l.points[i-1].Y, l.points[i].Y
			lo, hi := math.Max(math.Min(a, b), 0), math.Min(math.Max(a, b), float64(h))
			work += math.Max(hi-lo, 0) * sub
		}
	}
	if !(work < 1e9) {
		return 1e9
	}
	return int(work)
}

// FillMask is the coverage of p, transformed by m, on a canvas of w by h pixels.
func FillMask(p *Path, m Matrix, rule Rule, w, h int) *Mask {
	return rasterise(flatten(p, m), rule, w, h)
}
