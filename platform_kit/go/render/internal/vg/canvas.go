package vg

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
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
	return color.RGBA{p.r, p.g, p.b, p.a}
}

func (c *Canvas) at(x, y int) premul {
	if x < 0 || y < 0 || x >= c.W || y >= c.H {
		return premul{}
	}
	p := c.Pix[4*(y*c.W+x):]
	return premul{p[0], p[1], p[2], p[3]}
}

// Paint blends a paint through a mask and, if clip is not nil, a second one.
func (c *Canvas) Paint(m *Mask, paint Paint, clip *Mask, opacity float64) {
	alpha := uint32(min(max(opacity, 0), 1)*255 + 0.5)
	if m == nil || m.W == 0 || alpha == 0 {
		return
	}
	solid, flat := paint.(Solid)
	buf := make([]premul, m.W)
	if flat {
		solid.row(0, 0, buf[:1])
	}
	x0, x1 := max(m.X, 0), min(m.X+m.W, c.W)
	for y := max(m.Y, 0); y < min(m.Y+m.H, c.H); y++ {
		if x1 <= x0 {
			return
		}
		cover := m.Pix[(y-m.Y)*m.W+x0-m.X : (y-m.Y)*m.W+x1-m.X]
		lo, hi := 0, len(cover)
		for lo < hi && cover[lo] == 0 {
			lo++
		}
		for hi > lo && cover[hi-1] == 0 {
			hi--
		}
		if lo == hi {
			continue
		}
		if !flat {
			paint.row(x0+lo, y, buf[:hi-lo])
		}
		dst := c.Pix[4*(y*c.W+x0+lo):]
		for i := lo; i < hi; i, dst = i+1, dst[4:] {
			a := uint32(cover[i])
			if a == 0 {
				continue
			}
			if clip != nil {
				if a = a * uint32(clip.At(x0+i, y)) / 255; a == 0 {
					continue
				}
			}
			if alpha != 255 {
				a = a * alpha / 255
			}
			s := buf[0]
			if !flat {
				if s = buf[i-lo]; s.a == 0 {
					continue
				}
			}
			over(dst, s, a)
		}
	}
}

// Cover blends a paint over the whole canvas.
func (c *Canvas) Cover(paint Paint) {
	buf := make([]premul, c.W)
	for y := range c.H {
		paint.row(0, y, buf)
		dst := c.Pix[4*y*c.W:]
		for i, s := range buf {
			switch s.a {
			case 0:
			case 255:
				d := dst[4*i : 4*i+4 : 4*i+4]
				d[0], d[1], d[2], d[3] = s.r, s.g, s.b, 255
			default:
				over(dst[4*i:], s, 255)
			}
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

// over puts s, covering a of 255, on top of a pixel.
func over(dst []uint8, s premul, a uint32) {
	d := dst[:4:4]
	if a == 255 {
		if s.a == 255 {
			d[0], d[1], d[2], d[3] = s.r, s.g, s.b, 255
			return
		}
	} else {
		s.r, s.g, s.b, s.a = div255(uint32(s.r)*a), div255(uint32(s.g)*a), div255(uint32(s.b)*a), div255(uint32(s.a)*a)
	}
	k := 255 - uint32(s.a)
	d[0] = s.r + div255(uint32(d[0])*k)
	d[1] = s.g + div255(uint32(d[1])*k)
	d[2] = s.b + div255(uint32(d[2])*k)
	d[3] = s.a + div255(uint32(d[3])*k)
}

// div255 is v/255 rounded, for v up to 255*255.
func div255(v uint32) uint8 {
	v += 128
	return uint8((v + v>>8) >> 8)
}

// Fill fills a path.
func (c *Canvas) Fill(p *Path, m Matrix, rule Rule, paint Paint, clip *Mask, opacity float64) {
	c.Paint(FillMask(p, m, rule, c.W, c.H), paint, clip, opacity)
}

// Line draws a path as a line.
func (c *Canvas) Line(p *Path, m Matrix, s Stroke, paint Paint, clip *Mask, opacity float64) {
	c.Paint(StrokeMask(p, m, s, c.W, c.H), paint, clip, opacity)
}

// Draw puts another canvas on top, its corner at (x, y).
func (c *Canvas) Draw(src *Canvas, x, y int, clip *Mask, opacity float64) {
	full := &Mask{X: x, Y: y, W: src.W, H: src.H}
	alpha := uint32(min(max(opacity, 0), 1)*255 + 0.5)
	for row := max(0, -y); row < src.H && row+y < c.H; row++ {
		for col := max(0, -x); col < src.W && col+x < c.W; col++ {
			s := src.Pix[4*(row*src.W+col):]
			if s[3] == 0 {
				continue
			}
			a := alpha
			if clip != nil {
				a = a * uint32(clip.At(col+full.X, row+full.Y)) / 255
			}
			if a != 0 {
				over(c.Pix[4*((row+y)*c.W+col+x):], premul{s[0], s[1], s[2], s[3]}, a)
			}
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
