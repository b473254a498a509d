package render

import (
	"image"
	"image/color"
	"math/rand/v2"
	"testing"

	xdraw "golang.org/x/image/draw"

	"platform-kit/render/internal/vg"
)

// TestArtOfTheRightSizeIsCopied holds copying to what scaling by one gives.
func TestArtOfTheRightSizeIsCopied(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const w, h = 23, 17
	bounds := image.Rect(-3, 5, -3+w+6, 5+h+4)
	nrgba, grey, photo := image.NewNRGBA(bounds), image.NewGray(bounds), image.NewYCbCr(bounds, image.YCbCrSubsampleRatio420)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			nrgba.SetNRGBA(x, y, color.NRGBA{uint8(r.Int()), uint8(r.Int()), uint8(r.Int()), uint8(r.Int())})
			grey.SetGray(x, y, color.Gray{uint8(r.Int())})
		}
	}
	for _, plane := range [][]uint8{photo.Y, photo.Cb, photo.Cr} {
		for i := range plane {
			plane[i] = uint8(r.Int())
		}
	}
	for name, img := range map[string]image.Image{"nrgba": nrgba, "grey": grey, "photo": photo} {
		src := image.Rect(-1, 6, -1+w, 6+h)
		copied, scaled := vg.NewCanvas(w, h), vg.NewCanvas(w, h)
		place(copied, image.Rect(0, 0, w, h), img, src, xdraw.CatmullRom)
		xdraw.CatmullRom.Scale(scaled.Image(), image.Rect(0, 0, w, h), img, src, xdraw.Src, nil)
		for i, value := range copied.Pix {
			if d := int(value) - int(scaled.Pix[i]); d < -1 || d > 1 {
				t.Fatalf("%s: byte %d is %d, not %d", name, i, value, scaled.Pix[i])
			}
		}
	}
}
