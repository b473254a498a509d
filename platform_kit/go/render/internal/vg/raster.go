package vg

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sync"
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
	x, y0, y1, slope float64 // x is at y0; y0 < y1
	dir              int8
}

type crossing struct {
	x   float64
	dir int8
}

// sub is the number of sample lines in a row of pixels; across, coverage is exact.
const sub = 8

// sweep is the memory of one scan.
type sweep struct {
	edges, active []edge
	hits          []crossing
	acc           []float32
	row           []uint8
}

var sweeps = sync.Pool{New: func() any { return &sweep{} }}

// scan goes through closed outlines within a box of pixels. It calls begin with
// the box they touch, if there is one, and then emit with the coverage of those
// pixels, from (x, y) on, of every row that has any; emit must not keep it. Every
// winding is counted exactly, so overlaps in either direction come out right.
func scan(lines []polyline, rule Rule, clipW, clipH int, begin func(x, y, w, h int), emit func(x, y int, cover []uint8)) {
	sw := sweeps.Get().(*sweep)
	defer sweeps.Put(sw)
	edges := sw.edges[:0]
	minX, minY, maxX, maxY := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	limit := float64(clipH)
	for _, l := range lines {
		n := len(l.points)
		if n < 2 {
			continue
		}
		a := l.points[n-1]
		aFinite := finite(a)
		for _, b := range l.points {
			from, ok := a, aFinite
			a, aFinite = b, finite(b)
			if !ok || !aFinite {
				continue
			}
			minX, maxX = min(minX, from.X, b.X), max(maxX, from.X, b.X)
			minY, maxY = min(minY, from.Y, b.Y), max(maxY, from.Y, b.Y)
			dir := int8(1)
			to := b
			if from.Y > b.Y {
				dir, from, to = -1, b, from
			}
			if from.Y < to.Y && to.Y > 0 && from.Y < limit {
				edges = append(edges, edge{from.X, from.Y, to.Y, (to.X - from.X) / (to.Y - from.Y), dir})
			}
		}
	}
	sw.edges = edges
	x0 := int(math.Floor(math.Max(minX, 0)))
	y0 := int(math.Floor(math.Max(minY, 0)))
	x1 := int(math.Ceil(math.Min(maxX, float64(clipW))))
	y1 := int(math.Ceil(math.Min(maxY, float64(clipH))))
	if len(edges) == 0 || x1 <= x0 || y1 <= y0 {
		return
	}
	width := x1 - x0
	begin(x0, y0, width, y1-y0)
	slices.SortFunc(edges, func(a, b edge) int {
		switch {
		case a.y0 < b.y0:
			return -1
		case a.y0 > b.y0:
			return 1
		}
		return 0
	})
	if len(sw.acc) < width+2 {
		sw.acc, sw.row = make([]float32, width+2), make([]uint8, width)
	}
	acc, active, hits := sw.acc, sw.active[:0], sw.hits[:0]
	next := 0
	left, right := float64(x0), float64(x1)
	for y := y0; y < y1; y++ {
		first, final := width, 0 // the pixels of this row that are covered
		for s := range sub {
			sy := float64(y) + (float64(s)+0.5)/sub
			for next < len(edges) && edges[next].y0 <= sy {
				if edges[next].y1 > sy {
					active = append(active, edges[next])
				}
				next++
			}
			hits = hits[:0]
			for i := 0; i < len(active); {
				e := &active[i]
				if e.y1 <= sy { // order does not matter: crossings are sorted
					active[i] = active[len(active)-1]
					active = active[:len(active)-1]
					continue
				}
				hits = append(hits, crossing{min(max(e.x+(sy-e.y0)*e.slope, left), right) - left, e.dir})
				i++
			}
			if len(hits) > 64 {
				slices.SortFunc(hits, func(a, b crossing) int { return cmp.Compare(a.x, b.x) })
			} else {
				for i := 1; i < len(hits); i++ {
					h := hits[i]
					j := i
					for ; j > 0 && h.x < hits[j-1].x; j-- {
						hits[j] = hits[j-1]
					}
					hits[j] = h
				}
			}
			wind, start := 0, 0.0
			for i := range hits {
				was := wind
				if rule == EvenOdd {
					wind ^= 1
				} else {
					wind += int(hits[i].dir)
				}
				switch {
				case was == 0 && wind != 0:
					start = hits[i].x
				case was != 0 && wind == 0 && hits[i].x > start:
					span(acc, start, hits[i].x)
					first, final = min(first, int(start)), max(final, int(hits[i].x)+2)
				}
			}
		}
		if first >= final {
			continue
		}
		final = min(final, width)
		row, part := sw.row[first:final], acc[first:final]
		sum, level := float32(0), uint8(0)
		for x := 0; x < len(row); {
			if x+8 <= len(row) {
				if p := part[x : x+8 : x+8]; zero(p[0], p[1], p[2], p[3]) && zero(p[4], p[5], p[6], p[7]) {
					binary.LittleEndian.PutUint64(row[x:], uint64(level)*0x0101010101010101)
					x += 8
					continue
				}
			}
			for end := min(x+8, len(row)); x < end; x++ {
				if part[x] != 0 {
					sum += part[x]
					part[x] = 0
					level = uint8(min(max(sum, 0), 1)*255 + 0.5)
				}
				row[x] = level
			}
		}
		acc[width], acc[width+1] = 0, 0
		emit(x0+first, y, row)
	}
	sw.active, sw.hits = active, hits
}

func zero(a, b, c, d float32) bool {
	return math.Float32bits(a)|math.Float32bits(b)|math.Float32bits(c)|math.Float32bits(d) == 0
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

// rasterise returns the coverage of closed outlines within a box of pixels.
func rasterise(lines []polyline, rule Rule, clipW, clipH int) *Mask {
	m := &Mask{}
	scan(lines, rule, clipW, clipH, func(x, y, w, h int) {
		*m = Mask{X: x, Y: y, W: w, H: h, Pix: make([]uint8, w*h)}
	}, func(x, y int, cover []uint8) {
		copy(m.Pix[(y-m.Y)*m.W+x-m.X:], cover)
	})
	return m
}

func finite(p Point) bool {
	return math.Abs(p.X) < 1e7 && math.Abs(p.Y) < 1e7 // also false for NaN
}

// Flat is a path made of straight lines, in pixels.
type Flat struct{ lines []polyline }

// Flatten turns p, transformed by m, into straight lines.
func Flatten(p *Path, m Matrix) *Flat { return &Flat{flatten(p, m)} }

// Effort says how much work filling f on a canvas h pixels high is: the rows
// that its edges cross, and the edges.
func (f *Flat) Effort(h int) int {
	work := 0.0
	for _, l := range f.lines {
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
