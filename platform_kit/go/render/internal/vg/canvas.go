package vg

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/draw"
	"math"
	"sync"
)

// Canvas is a picture of premultiplied RGBA pixels.
type Canvas struct {
	W, H int
	Pix  []uint8
}

// NewCanvas returns a transparent canvas.
func NewCanvas(w, h int) *Canvas { return &Canvas{w, h, make([]uint8, 4*w*h)} }

// Clone copies the canvas.
func (c *Canvas) Clone() *Canvas { return &Canvas{c.W, c.H, bytes.Clone(c.Pix)} }

// Image shares the canvas's pixels.
func (c *Canvas) Image() *image.RGBA {
	return &image.RGBA{Pix: c.Pix, Stride: 4 * c.W, Rect: image.Rect(0, 0, c.W, c.H)}
}

// FromImage copies an image.
func FromImage(img image.Image) *Canvas {
	b := img.Bounds()
	c := NewCanvas(b.Dx(), b.Dy())
	draw.Draw(c.Image(), image.Rect(0, 0, c.W, c.H), img, b.Min, draw.Src)
	return c
}

// Color returns a pixel.
func (c *Canvas) Color(x, y int) color.RGBA {
	p := c.at(x, y)
	return color.RGBA{uint8(p), uint8(p >> 8), uint8(p >> 16), uint8(p >> 24)}
}

func (c *Canvas) at(x, y int) premul {
	if x < 0 || y < 0 || x >= c.W || y >= c.H {
		return 0
	}
	return premul(binary.LittleEndian.Uint32(c.Pix[4*(y*c.W+x):]))
}

// brush blends rows of coverage onto a canvas.
type brush struct {
	canvas  *Canvas
	paint   Paint
	clip    *Mask
	opacity uint32 // of 255
	flat    bool
	color   premul // of a flat paint
	row     []premul
	cut     []uint8 // coverage within the clip
}

var brushes = sync.Pool{New: func() any { return &brush{} }}

// newBrush returns nil if there is nothing to blend; otherwise call done after.
func (c *Canvas) newBrush(paint Paint, clip *Mask, opacity float64) *brush {
	alpha := uint32(min(max(opacity, 0), 1)*255 + 0.5)
	if alpha == 0 || clip != nil && clip.W == 0 {
		return nil
	}
	b := brushes.Get().(*brush)
	b.canvas, b.paint, b.clip, b.opacity = c, paint, clip, alpha
	var solid Solid
	if solid, b.flat = paint.(Solid); b.flat {
		if b.color = Color(solid).premul(); b.color == 0 {
			b.done()
			return nil
		}
	}
	if len(b.row) < c.W {
		b.row, b.cut = make([]premul, c.W), make([]uint8, c.W)
	}
	return b
}

func (b *brush) done() {
	b.canvas, b.paint, b.clip = nil, nil, nil
	brushes.Put(b)
}

// blend blends a row of coverage that starts at (x, y), inside of the canvas.
func (b *brush) blend(x, y int, cover []uint8) {
	if b.clip != nil {
		if cover, x = b.within(x, y, cover); len(cover) == 0 {
			return
		}
	}
	for len(cover) > 0 && cover[0] == 0 {
		cover = cover[1:]
		x++
	}
	for len(cover) > 0 && cover[len(cover)-1] == 0 {
		cover = cover[:len(cover)-1]
	}
	if len(cover) == 0 {
		return
	}
	c := b.canvas
	dst := c.Pix[4*(y*c.W+x):]
	dst = dst[: 4*len(cover) : 4*len(cover)]
	if b.flat {
		full := b.color
		if b.opacity != 255 {
			full = full.scale(b.opacity)
		}
		rest := 255 - full.alpha()
		for i := 0; i < len(cover); i++ {
			if n := i + 8; n <= len(cover) { // most of a shape is eight pixels of the same
				switch binary.LittleEndian.Uint64(cover[i:]) {
				case 0:
					i += 7
					continue
				case math.MaxUint64:
					whole(dst[4*i:4*n:4*n], full, rest)
					i += 7
					continue
				}
			}
			a := cover[i]
			switch a {
			case 0:
			case 255:
				p := dst[4*i : 4*i+4 : 4*i+4]
				v := full
				if rest != 0 {
					v += premul(binary.LittleEndian.Uint32(p)).scale(rest)
				}
				binary.LittleEndian.PutUint32(p, uint32(v))
			default:
				p := dst[4*i : 4*i+4 : 4*i+4]
				s := b.color.scale(uint32(a) * b.opacity / 255)
				binary.LittleEndian.PutUint32(p, uint32(premul(binary.LittleEndian.Uint32(p)).over(s)))
			}
		}
		return
	}
	row := b.row[:len(cover)]
	b.paint.row(x, y, row)
	for i, a := range cover {
		s := row[i]
		if a == 0 || s == 0 {
			continue
		}
		p := dst[4*i : 4*i+4 : 4*i+4]
		if k := uint32(a) * b.opacity / 255; k != 255 {
			s = s.scale(k)
		}
		if s.alpha() != 255 {
			s = premul(binary.LittleEndian.Uint32(p)).over(s)
		}
		binary.LittleEndian.PutUint32(p, uint32(s))
	}
}

// whole puts the same colour on pixels; rest is what its alpha leaves.
func whole(dst []uint8, color premul, rest uint32) {
	if rest == 0 {
		for ; len(dst) >= 8; dst = dst[8:] {
			binary.LittleEndian.PutUint64(dst, uint64(color)<<32|uint64(color))
		}
		return
	}
	for ; len(dst) >= 4; dst = dst[4:] {
		binary.LittleEndian.PutUint32(dst, uint32(color+premul(binary.LittleEndian.Uint32(dst)).scale(rest)))
	}
}

// within multiplies a row of coverage by the clip.
func (b *brush) within(x, y int, cover []uint8) ([]uint8, int) {
	m := b.clip
	lo, hi := max(x, m.X), min(x+len(cover), m.X+m.W)
	if y < m.Y || y >= m.Y+m.H || lo >= hi {
		return nil, x
	}
	cut := b.cut[:hi-lo]
	clip := m.Pix[(y-m.Y)*m.W+lo-m.X:][:hi-lo]
	for i, a := range cover[lo-x : hi-x] {
		cut[i] = uint8(uint32(a) * uint32(clip[i]) / 255)
	}
	return cut, lo
}

// Paint blends a paint through a mask and, if clip is not nil, a second one.
func (c *Canvas) Paint(m *Mask, paint Paint, clip *Mask, opacity float64) {
	if m == nil || m.W == 0 {
		return
	}
	x0, x1 := max(m.X, 0), min(m.X+m.W, c.W)
	b := c.newBrush(paint, clip, opacity)
	if b == nil || x0 >= x1 {
		return
	}
	for y := max(m.Y, 0); y < min(m.Y+m.H, c.H); y++ {
		b.blend(x0, y, m.Pix[(y-m.Y)*m.W+x0-m.X:(y-m.Y)*m.W+x1-m.X])
	}
	b.done()
}

// Cover blends a paint over the whole canvas.
func (c *Canvas) Cover(paint Paint) {
	buf := make([]premul, c.W)
	for y := range c.H {
		paint.row(0, y, buf)
		dst := c.Pix[4*y*c.W:]
		for i, s := range buf {
			p := dst[4*i : 4*i+4 : 4*i+4]
			if s.alpha() != 255 {
				s = premul(binary.LittleEndian.Uint32(p)).over(s)
			}
			binary.LittleEndian.PutUint32(p, uint32(s))
		}
	}
}

// Crop returns the part of the canvas that is not transparent, and its place.
func (c *Canvas) Crop() (part *Canvas, x, y int) {
	x0, y0, x1, y1 := c.W, c.H, 0, 0
	for y := range c.H {
		for x := range c.W {
			if c.Pix[4*(y*c.W+x)+3] != 0 {
				x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x+1), max(y1, y+1)
			}
		}
	}
	if x1 <= x0 {
		return &Canvas{}, 0, 0
	}
	part = NewCanvas(x1-x0, y1-y0)
	for y := range part.H {
		copy(part.Pix[4*y*part.W:4*(y+1)*part.W], c.Pix[4*((y+y0)*c.W+x0):])
	}
	return part, x0, y0
}

// Fill fills a path.
func (c *Canvas) Fill(p *Path, m Matrix, rule Rule, paint Paint, clip *Mask, opacity float64) {
	c.FillFlat(Flatten(p, m), rule, paint, clip, opacity)
}

// FillFlat fills a path that was flattened before. It returns how many pixels
// it went through.
func (c *Canvas) FillFlat(f *Flat, rule Rule, paint Paint, clip *Mask, opacity float64) int {
	return c.scan(f.lines, rule, paint, clip, opacity)
}

// Line draws a path as a line. It returns how many pixels it went through.
func (c *Canvas) Line(p *Path, m Matrix, s Stroke, paint Paint, clip *Mask, opacity float64) int {
	return c.scan(strokeLines(p, m, s), NonZero, paint, clip, opacity)
}

func (c *Canvas) scan(lines []polyline, rule Rule, paint Paint, clip *Mask, opacity float64) (pixels int) {
	b := c.newBrush(paint, clip, opacity)
	if b == nil {
		return 0
	}
	scan(lines, rule, c.W, c.H, func(_, _, w, h int) { pixels = w * h }, b.blend)
	b.done()
	return pixels
}

// Draw puts another canvas on top, its corner at (x, y).
func (c *Canvas) Draw(src *Canvas, x, y int, clip *Mask, opacity float64) {
	alpha := uint32(min(max(opacity, 0), 1)*255 + 0.5)
	if alpha == 0 {
		return
	}
	for row := max(0, -y); row < src.H && row+y < c.H; row++ {
		lo, hi := max(0, -x), min(src.W, c.W-x)
		for col := lo; col < hi; col++ {
			s := premul(binary.LittleEndian.Uint32(src.Pix[4*(row*src.W+col):]))
			if s == 0 {
				continue
			}
			a := alpha
			if clip != nil {
				if a = a * uint32(clip.At(col+x, row+y)) / 255; a == 0 {
					continue
				}
			}
			if a != 255 {
				s = s.scale(a)
			}
			p := c.Pix[4*((row+y)*c.W+col+x):]
			if s.alpha() != 255 {
				s = premul(binary.LittleEndian.Uint32(p)).over(s)
			}
			binary.LittleEndian.PutUint32(p, uint32(s))
		}
	}
}

// Luminance turns the canvas into a mask, as SVG's <mask> does.
func (c *Canvas) Luminance() *Mask {
	m := &Mask{W: c.W, H: c.H, Pix: make([]uint8, c.W*c.H)}
	for i := range m.Pix {
		p := c.Pix[4*i:]
		m.Pix[i] = uint8((uint32(p[0])*54 + uint32(p[1])*183 + uint32(p[2])*18) / 255)
	}
	return m
}
