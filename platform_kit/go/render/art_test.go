package render

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"platform-kit/internal/rastertest"
	"platform-kit/raster"
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
		src := image.Rect(2, 1, 2+w, 1+h)
		copied, turned := vg.NewCanvas(w, h), vg.NewCanvas(w, h)
		place(copied, image.Rect(0, 0, w, h), img, src, 1)
		// Turned by the half and back, it goes the way of what is scaled.
		half := raster.Upright(raster.Plain(img), 3)
		place(turned, image.Rect(0, 0, w, h), half, src, 3)
		for i, value := range copied.Pix {
			if d := int(value) - int(turned.Pix[i]); d < -1 || d > 1 {
				t.Fatalf("%s: byte %d is %d, not %d", name, i, value, turned.Pix[i])
			}
		}
	}
}

// showing returns a template that is nothing but art, of w by h pixels.
func showing(t *testing.T, w, h int, fit string, x, y float64) *Template {
	t.Helper()
	bundle := fmt.Sprintf(`{"format":1,"name":"art","width":%d,"height":%d,"dpi":300,
"layers":[{"kind":"art","box":[0,0,%d,%d],"fit":%q,"position":[%g,%g]}]}`, w, h, w, h, fit, x, y)
	tpl, err := parseWith([]byte(bundle), nil, newKept())
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// cardOf is a card with this art, as pixels.
func cardOf(t *testing.T, tpl *Template, data []byte, kind string) *image.NRGBA {
	t.Helper()
	out, err := tpl.Render(t.Context(), Card{ID: "a", Art: data, ArtType: kind})
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(out.PNG))
	if err != nil {
		t.Fatal(err)
	}
	return raster.Plain(img)
}

func asPNG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// apart is by how much two cards differ at most.
func apart(a, b *image.NRGBA) int {
	if a.Rect != b.Rect {
		return 255
	}
	most := 0
	for i, v := range a.Pix {
		most = max(most, int(v)-int(b.Pix[i]), int(b.Pix[i])-int(v))
	}
	return most
}

func TestAWebPIsShownAsThePNGOfItsPixels(t *testing.T) {
	for name, near := range map[string]int{"lossless": 0, "alpha": 0, "lossy": 4, "lossy-alpha": 4} {
		want := rastertest.Quarters(strings.Contains(name, "alpha"))
		for _, fit := range []string{"cover", "contain"} {
			// As large as the picture, so that an edge is not what differs.
			tpl := showing(t, 48, 32, fit, 0.5, 0.5)
			got, want := cardOf(t, tpl, rastertest.WebP(name), "webp"), cardOf(t, tpl, asPNG(t, want), "png")
			inner := func(img *image.NRGBA) *image.NRGBA { // colours of a lossy file run at the edges
				out := image.NewNRGBA(image.Rect(0, 0, 32, 16))
				for y := range 16 {
					for x := range 32 {
						out.SetNRGBA(x, y, img.NRGBAAt(x/16*24+4+x%16, y/8*16+4+y%8))
					}
				}
				return out
			}
			if near > 0 {
				got, want = inner(got), inner(want)
			}
			if d := apart(got, want); d > near {
				t.Errorf("%s, %s: pixels differ by %d", name, fit, d)
			}
		}
	}
}

// stands is the picture upright, by what EXIF 2.32 says of tag 274: where the file's first row and column are seen.
func stands(img image.Image, orientation int) *image.NRGBA {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 && orientation <= 8 {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for row := range h {
		for column := range w {
			x, y := column, row
			switch orientation {
			case 2: // top, right
				x = w - 1 - column
			case 3: // bottom, right
				x, y = w-1-column, h-1-row
			case 4: // bottom, left
				y = h - 1 - row
			case 5: // left, top
				x, y = row, column
			case 6: // right, top
				x, y = h-1-row, column
			case 7: // right, bottom
				x, y = h-1-row, w-1-column
			case 8: // left, bottom
				x, y = row, w-1-column
			}
			out.Set(x, y, img.At(b.Min.X+column, b.Min.Y+row))
		}
	}
	return out
}

func TestAPhotographStandsUprightOnACard(t *testing.T) {
	drawn := image.NewNRGBA(image.Rect(0, 0, 61, 37)) // no side and no corner like another
	for y := range 37 {
		for x := range 61 {
			drawn.SetNRGBA(x, y, color.NRGBA{uint8(4 * x), uint8(6 * y), uint8(2*x + 3*y), 255})
		}
	}
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, drawn, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"jpeg": photo.Bytes(), "png": asPNG(t, drawn), "webp": rastertest.WebP("lossless")}
	templates := map[string]*Template{
		"smaller":     showing(t, 30, 34, "cover", 0.3, 0.8),
		"larger":      showing(t, 90, 70, "cover", 1, 0),
		"as it is":    showing(t, 37, 61, "cover", 0.5, 0.5),
		"all of it":   showing(t, 50, 33, "contain", 0.1, 0.9),
		"a thin part": showing(t, 9, 40, "cover", 0.25, 0.5),
	}
	for kind, data := range files {
		info, err := raster.Inspect(data)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := raster.Decode(t.Context(), data, info)
		if err != nil {
			t.Fatal(err)
		}
		for orientation := range 10 {
			want := asPNG(t, stands(decoded, orientation))
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				for name, tpl := range templates {
					got := cardOf(t, tpl, rastertest.Oriented(data, uint16(orientation), order), kind)
					if d := apart(got, cardOf(t, tpl, want, "png")); d > 2 {
						t.Errorf("%s of orientation %d, %v, %s: pixels differ by %d", kind, orientation, order, name, d)
					}
				}
			}
		}
	}
}

func TestHostilePicturesAreRejectedWithTheirReason(t *testing.T) {
	tpl := showing(t, 40, 30, "cover", 0.5, 0.5)
	kinds := map[string]string{"jpg": "jpeg"}
	for name, c := range rastertest.AllHostile(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		kind := c.Extension
		if kinds[kind] != "" {
			kind = kinds[kind]
		}
		if kind == "gif" { // never asked for by that name
			kind = "png"
		}
		_, err := tpl.Render(ctx, Card{ID: "a", OpenArt: func(context.Context) ([]byte, error) { return c.Data, nil }, ArtDigest: name, ArtType: kind})
		cancel()
		var reject *RejectError
		if !errors.As(err, &reject) || reject.Column != "art" || !strings.Contains(reject.Reason, c.Says) {
			t.Errorf("%s: %v, want a reason with %q", name, err, c.Says)
		}
	}
	_, err := tpl.Render(t.Context(), Card{ID: "a", Art: rastertest.WebP("lossy"), ArtType: "jpeg"})
	if err == nil || !strings.Contains(err.Error(), "says JPEG, its content is WebP; name it .webp") {
		t.Errorf("a WebP called JPEG: %v", err)
	}
	if left := tpl.kept.room.Left(); left != raster.Memory {
		t.Errorf("%d bytes of the room are left, want %d", left, raster.Memory)
	}
}

// A card whose picture waits for memory ends with its time, and takes none.
func TestAPictureThatWaitsForMemoryEndsWithItsTime(t *testing.T) {
	tpl := showing(t, 40, 30, "cover", 0.5, 0.5)
	leave, err := tpl.kept.room.Enter(t.Context(), raster.Memory)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	c := Card{ID: "a", Art: rastertest.WebP("lossy"), ArtType: "webp"}
	var reject *RejectError
	if _, err := tpl.Render(ctx, c); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &reject) {
		t.Fatalf("got %v", err)
	}
	leave()
	if _, err := tpl.Render(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}
