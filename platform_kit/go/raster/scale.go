package raster

import (
	"image"
	"image/color"
	"image/draw"
	"math"
)

// Scaling reads the source row by row and keeps a few rows in memory, so that a large picture needs no second copy. It
// works with whole numbers, and so gives the same bytes on every processor.

const weightBits = 14

// span is the part of a row or column that one pixel of the result is made of.
type span struct {
	start   int
	weights []int32 // their sum is 1 << weightBits
}

// spans returns the weights of the Catmull-Rom kernel for n pixels out of size.
func spans(size, n int) []span {
	k := float64(size) / float64(n)
	wide := math.Max(k, 1)
	out := make([]span, n)
	for i := range out {
		centre := float64((float64(i)+0.5)*k) - 0.5
		first, last := int(math.Ceil(centre-2*wide)), int(math.Floor(centre+2*wide))
		first, last = max(first, 0), min(last, size-1)
		if first > last {
			first = min(max(int(math.Round(centre)), 0), size-1)
			last = first
		}
		raw, sum := make([]float64, last-first+1), 0.0
		for j := range raw {
			raw[j] = kernel(math.Abs(float64(first+j)-centre) / wide)
			sum += raw[j]
		}
		s := span{first, make([]int32, len(raw))}
		total, largest := int32(0), 0
		for j, v := range raw {
			s.weights[j] = int32(math.Round(v / sum * (1 << weightBits)))
			total += s.weights[j]
			if s.weights[j] > s.weights[largest] {
				largest = j
			}
		}
		s.weights[largest] += 1<<weightBits - total
		out[i] = s
	}
	return out
}

func kernel(x float64) float64 {
	switch { // the conversions keep a processor from fusing the operations, which would round otherwise
	case x < 1:
		return float64(float64(float64(1.5*x)-2.5)*float64(x*x)) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(-0.5*x)+2.5)*x)-4)*x) + 2
	}
	return 0
}

// Scaled returns img in w by h pixels.
func Scaled(img image.Image, w, h int) *image.NRGBA {
	b := img.Bounds()
	if b.Dx() == w && b.Dy() == h {
		return Plain(img)
	}
	read := reader(img)
	across, down := spans(b.Dx(), w), spans(b.Dy(), h)
	source := make([]int32, 4*b.Dx())
	depth := 1
	for _, s := range down {
		depth = max(depth, len(s.weights))
	}
	ring, have := make([][]int32, depth), 0 // rows already made narrow: have-depth .. have-1
	for i := range ring {
		ring[i] = make([]int32, 4*w)
	}
	sums := make([]int64, 4*w)
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y, s := range down {
		for ; have < s.start+len(s.weights); have++ {
			if have < s.start {
				continue // no pixel of the result needs it any more
			}
			read(have, source)
			narrow(ring[have%depth], source, across)
		}
		clear(sums)
		for j, weight := range s.weights {
			row, k := ring[(s.start+j)%depth], int64(weight)
			for x, v := range row {
				sums[x] += k * int64(v)
			}
		}
		finish(out.Pix[y*out.Stride:], sums)
	}
	return out
}

// narrow makes a row of the source as wide as the result.
func narrow(dst, src []int32, across []span) {
	for x, s := range across {
		// 16 bits times 14, and the negative weights add less than a quarter: it fits.
		var r, g, b, a int32
		p := src[4*s.start : 4*(s.start+len(s.weights))]
		for _, k := range s.weights {
			r += k * p[0]
			g += k * p[1]
			b += k * p[2]
			a += k * p[3]
			p = p[4:]
		}
		d := dst[4*x : 4*x+4 : 4*x+4]
		d[0], d[1], d[2], d[3] = r>>weightBits, g>>weightBits, b>>weightBits, a>>weightBits
	}
}

// finish turns premultiplied sums into plain pixels.
func finish(dst []uint8, sums []int64) {
	for x := 0; x < len(sums); x += 4 {
		a := min(max(sums[x+3]>>weightBits, 0), 0xffff)
		if a == 0 {
			continue
		}
		for c := range 3 {
			v := min(max(sums[x+c]>>weightBits, 0), a)
			dst[x+c] = uint8((v*255 + a/2) / a)
		}
		dst[x+3] = uint8((a + 128) / 257)
	}
}

// reader returns a function that reads a row of premultiplied pixels of 16 bits.
func reader(img image.Image) func(y int, dst []int32) {
	b := img.Bounds()
	switch img := img.(type) {
	case *image.NRGBA:
		return func(y int, dst []int32) {
			src := img.Pix[y*img.Stride : y*img.Stride+4*b.Dx()]
			for i := 0; i < len(src); i += 4 {
				a := int32(src[i+3]) * 257
				dst[i], dst[i+1], dst[i+2] = int32(src[i])*a/255, int32(src[i+1])*a/255, int32(src[i+2])*a/255
				dst[i+3] = a
			}
		}
	case *image.RGBA, *image.YCbCr, *image.Gray, *image.CMYK: // those that are drawn fast
		row := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1))
		return func(y int, dst []int32) {
			draw.Draw(row, row.Rect, img, image.Pt(b.Min.X, b.Min.Y+y), draw.Src)
			for i, v := range row.Pix {
				dst[i] = int32(v) * 257
			}
		}
	}
	at := func(x, y int) color.RGBA64 { return color.RGBA64Model.Convert(img.At(x, y)).(color.RGBA64) }
	if fast, ok := img.(image.RGBA64Image); ok {
		at = fast.RGBA64At
	}
	return func(y int, dst []int32) {
		for x := range b.Dx() {
			c := at(b.Min.X+x, b.Min.Y+y)
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = int32(c.R), int32(c.G), int32(c.B), int32(c.A)
		}
	}
}

// Part is the part of img within r, with the same pixels.
func Part(img image.Image, r image.Rectangle) image.Image {
	if whole, ok := img.(interface {
		SubImage(r image.Rectangle) image.Image
	}); ok && r != img.Bounds() {
		return whole.SubImage(r)
	}
	return img
}

// Plain copies img as it is.
func Plain(img image.Image) *image.NRGBA {
	b := img.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if src, ok := img.(*image.NRGBA); ok {
		for y := range b.Dy() {
			copy(out.Pix[y*out.Stride:][:4*b.Dx()], src.Pix[y*src.Stride:])
		}
		return out
	}
	read, row := reader(img), make([]int32, 4*b.Dx())
	sums := make([]int64, len(row))
	for y := range b.Dy() {
		read(y, row)
		for i, v := range row {
			sums[i] = int64(v) << weightBits
		}
		finish(out.Pix[y*out.Stride:], sums)
	}
	return out
}
