package raster

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/webp"
)

// Decode reads the pixels of a picture that was inspected. The error is a [*Refused] if the picture is at fault, and
// otherwise that of ctx.
func Decode(ctx context.Context, data []byte, info Info) (img image.Image, err error) {
	defer func() { // a decoder that panics has met a file nobody should use
		if value := recover(); value != nil {
			img, err = nil, Refuse("not a whole %s file: the decoder gave up (%v)", Label(info.Kind), value)
		}
	}()
	in := &untilDone{ctx, bytes.NewReader(data)}
	switch info.Kind {
	case PNG:
		img, err = png.Decode(in)
	case JPEG:
		img, err = jpeg.Decode(in)
	case WebP:
		if img, err = webp.Decode(in); err == nil {
			widen(img)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, Refuse("not a whole %s file: %v", Label(info.Kind), err)
	}
	if b := img.Bounds(); b.Dx() != info.Width || b.Dy() != info.Height {
		return nil, Refuse("a %s whose header says %d x %d and whose picture has %d x %d pixels",
			Label(info.Kind), info.Width, info.Height, b.Dx(), b.Dy())
	}
	return img, nil
}

// untilDone ends a decoder that works through a file made to take long.
type untilDone struct {
	ctx context.Context
	in  io.Reader
}

func (r *untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}

// studio leads from the range a lossy WebP's planes have, 16 to 235 for light and 16 to 240 for colour, to the whole
// range that image.YCbCr means. The decoder leaves them as they are: black would be shown as dark grey.
var studio = func() (tables struct{ light, colour [256]uint8 }) {
	stretch := func(v float64) uint8 { return uint8(math.Round(min(max(v, 0), 255))) }
	for v := range 256 {
		tables.light[v] = stretch(float64(v-16) * 255 / 219)
		tables.colour[v] = stretch(float64(float64(v-128)*255/224) + 128)
	}
	return tables
}()

func widen(img image.Image) {
	var planes *image.YCbCr
	switch img := img.(type) {
	case *image.YCbCr:
		planes = img
	case *image.NYCbCrA:
		planes = &img.YCbCr
	default:
		return
	}
	for i, v := range planes.Y {
		planes.Y[i] = studio.light[v]
	}
	for _, plane := range [][]uint8{planes.Cb, planes.Cr} {
		for i, v := range plane {
			plane[i] = studio.colour[v]
		}
	}
}
