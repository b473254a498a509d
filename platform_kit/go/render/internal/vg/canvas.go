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

// Canvas is a picture of premultiplied RGBA pixels, or some rows of one.
type Canvas struct {
	W, H int
	Pix  []uint8
	// Top is which row of the picture the first one is. Paint, Draw and Stamp count rows in the picture and leave
	// alone those that the canvas has not got; whatever else draws needs a canvas of the whole picture.
	Top int
}

// NewCanvas returns a transparent canvas.
func NewCanvas(w, h int) *Canvas { return &Canvas{W: w, H: h, Pix: make([]uint8, 4*w*h)} }

// Clone copies the canvas.
func (c *Canvas) Clone() *Canvas { return &Canvas{W: c.W, H: c.H, Pix: bytes.Clone(c.Pix), Top: c.Top} }

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

// blend blends a row of coverage that starts at (x, y) of the picture, inside of the canvas.
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
	dst := c.Pix[4*((y-c.Top)*c.W+x):]
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
	if p, ok := b.paint.(*Picture); ok && b.opacity == 255 {
		if from := p.pixels(x, y, len(cover)); from != nil {
			through(dst, from, cover)
			return
		}
	}
	row := b.row[:len(cover)]
	b.paint.row(x, y, row)
	for i := 0; i < len(cover); i++ {
		if n := i + 8; n <= len(cover) && b.opacity == 255 {
			switch binary.LittleEndian.Uint64(cover[i:]) {
			case 0:
				i += 7
				continue
			case math.MaxUint64:
				put(dst[4*i:4*n:4*n], row[i:n:n])
				i += 7
				continue
			}
		}
		a, s := cover[i], row[i]
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

// whole puts the same colour on an even number of pixels; rest is what its alpha leaves.
func whole(dst []uint8, color premul, rest uint32) {
	if rest == 0 {
		for ; len(dst) >= 8; dst = dst[8:] {
			binary.LittleEndian.PutUint64(dst, uint64(color)<<32|uint64(color))
		}
		return
	}
	two := uint64(color)<<32 | uint64(color)
	for ; len(dst) >= 8; dst = dst[8:] {
		binary.LittleEndian.PutUint64(dst, two+scale2(binary.LittleEndian.Uint64(dst), rest))
	}
}

// through blends pixels over others through a row of coverage.
func through(dst, from, cover []uint8) {
	for i := 0; i < len(cover); {
		j := i
		for j+8 <= len(cover) && binary.LittleEndian.Uint64(cover[j:]) == math.MaxUint64 {
			j += 8
		}
		if j > i {
			over(dst[4*i:4*j], from[4*i:4*j])
			i = j
			continue
		}
		if a := cover[i]; a != 0 {
			p := dst[4*i : 4*i+4 : 4*i+4]
			s := premul(binary.LittleEndian.Uint32(from[4*i:])).scale(uint32(a))
			binary.LittleEndian.PutUint32(p, uint32(premul(binary.LittleEndian.Uint32(p)).over(s)))
		}
		i++
	}
}

// put blends colours over pixels, an even number of them.
func put(dst []uint8, colors []premul) {
	for len(colors) >= 2 && len(dst) >= 8 {
		a, b := colors[0], colors[1]
		two := uint64(a) | uint64(b)<<32
		switch alpha := a.alpha(); {
		case alpha != b.alpha():
			under := binary.LittleEndian.Uint64(dst)
			two = uint64(premul(under).over(a)) | uint64(premul(under>>32).over(b))<<32
		case alpha != 255:
			two += scale2(binary.LittleEndian.Uint64(dst), 255-alpha)
		}
		binary.LittleEndian.PutUint64(dst, two)
		colors, dst = colors[2:], dst[8:]
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
	if m != nil {
		c.PaintAt(m, 0, 0, paint, clip, opacity)
	}
}

// PaintAt blends a paint through a mask that is moved by (dx, dy).
func (c *Canvas) PaintAt(m *Mask, dx, dy int, paint Paint, clip *Mask, opacity float64) {
	left, top := m.X+dx, m.Y+dy
	x0, x1 := max(left, 0), min(left+m.W, c.W)
	y0, y1 := max(top, c.Top), min(top+m.H, c.Top+c.H)
	if x0 >= x1 || y0 >= y1 {
		return
	}
	b := c.newBrush(paint, clip, opacity)
	if b == nil {
		return
	}
	for y := y0; y < y1; y++ {
		b.blend(x0, y, m.Pix[(y-top)*m.W+x0-left:(y-top)*m.W+x1-left])
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

// Opaque tells whether nothing shines through.
func (c *Canvas) Opaque() bool {
	for i := 3; i < len(c.Pix); i += 4 {
		if c.Pix[i] != 255 {
			return false
		}
	}
	return true
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
	lo, hi := max(0, -x), min(src.W, c.W-x)
	if alpha == 0 || lo >= hi {
		return
	}
	for row := max(0, c.Top-y); row < min(src.H, c.Top+c.H-y); row++ {
		from := src.Pix[4*(row*src.W+lo) : 4*(row*src.W+hi)]
		to := c.Pix[4*((row+y-c.Top)*c.W+lo+x):][:len(from)]
		if alpha == 255 && clip == nil {
			over(to, from)
			continue
		}
		for i := 0; i < len(from); i += 4 {
			s := premul(binary.LittleEndian.Uint32(from[i:]))
			if s == 0 {
				continue
			}
			a := alpha
			if clip != nil {
				if a = a * uint32(clip.At(lo+i/4+x, row+y)) / 255; a == 0 {
					continue
				}
			}
			if a != 255 {
				s = s.scale(a)
			}
			p := to[i : i+4 : i+4]
			if s.alpha() != 255 {
				s = premul(binary.LittleEndian.Uint32(p)).over(s)
			}
			binary.LittleEndian.PutUint32(p, uint32(s))
		}
	}
}

// over blends a row of pixels over another, which is as long.
func over(to, from []uint8) {
	for len(from) >= 8 && len(to) >= 8 {
		switch v := binary.LittleEndian.Uint64(from); {
		case v == 0:
		case v&(0xff<<24|0xff<<56) == 0xff<<24|0xff<<56:
			binary.LittleEndian.PutUint64(to, v)
		default:
			under := binary.LittleEndian.Uint64(to)
			a, b := premul(under).over(premul(v)), premul(under>>32).over(premul(v>>32))
			binary.LittleEndian.PutUint64(to, uint64(a)|uint64(b)<<32)
		}
		to, from = to[8:], from[8:]
	}
	if len(from) >= 4 && len(to) >= 4 {
		p := premul(binary.LittleEndian.Uint32(to)).over(premul(binary.LittleEndian.Uint32(from)))
		binary.LittleEndian.PutUint32(to, uint32(p))
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
