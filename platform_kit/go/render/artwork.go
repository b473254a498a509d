package render

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"

	"platform-kit/render/internal/pngenc"
	"platform-kit/render/internal/svg"
	"platform-kit/render/internal/vg"
)

// maxUnits bounds the declared size of an SVG: it is drawn at any size, but nobody means a million units.
const maxUnits = 1_000_000

// Artwork is an SVG drawn on its own, outside of a card.
type Artwork struct {
	Image         *image.RGBA // premultiplied
	Width, Height float64     // the natural size, in units
	Texts         bool        // whether it has text, which is left out: fonts belong to a card's template
}

// DrawSVG draws an SVG so that its longer side has the given number of pixels. An error is a [*RejectError] if the
// document is at fault, and otherwise that of ctx.
func DrawSVG(ctx context.Context, data []byte, side int) (*Artwork, error) {
	img, err := svg.Parse(data)
	if err != nil {
		return nil, svgError(err)
	}
	art := &Artwork{}
	art.Width, art.Height = img.Size()
	longer := math.Max(art.Width, art.Height)
	if !(longer <= maxUnits) {
		return nil, &RejectError{Column: "art", Reason: fmt.Sprintf(
			"an SVG of %.4g x %.4g units; at most %d a side are allowed", art.Width, art.Height, maxUnits)}
	}
	k := float64(side) / longer
	w, h := max(1, int(math.Round(art.Width*k))), max(1, int(math.Round(art.Height*k)))
	pic, err := img.Draw(ctx, w, h, svg.Options{
		X: 0.5, Y: 0.5, Color: vg.Color{A: 255},
		Fonts: func(string, string, float64, bool, bool) (*vg.Path, float64) {
			art.Texts = true
			return &vg.Path{}, 0
		},
	})
	if err != nil {
		return nil, svgError(err)
	}
	art.Image = pic.Image()
	return art, nil
}

var artEncoder = pngenc.New(0)

// artDPI is what a picture says of its size on paper where nobody has decided it.
const artDPI = 72

// EncodeOpaque writes pixels of four bytes, red, green, blue and an alpha that is left out, as a PNG in sRGB. The same
// pixels always give the same bytes.
func EncodeOpaque(pix []uint8, w, h int) []byte { return artEncoder.EncodePixels(pix, w, h, artDPI) }

func svgError(err error) error {
	var bad *svg.Error
	if errors.As(err, &bad) {
		return &RejectError{Column: "art", Reason: bad.Reason}
	}
	return err
}
