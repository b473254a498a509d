package pngenc

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"platform-kit/render/internal/name"
)

// decode reads a file back with the standard library and returns it as opaque RGBA.
func decode(t testing.TB, data []byte) ([]uint8, int, int) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("image/png: %v", err)
	}
	b := img.Bounds()
	var out []uint8
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			out = append(out, c.R, c.G, c.B, 255)
		}
	}
	return out, b.Dx(), b.Dy()
}

// drawn is a picture that is drawn as it is asked for, and the number of rows that were.
type drawn struct {
	pix  []uint8
	w    int
	rows int
	room []uint8
}

// Name is that of the pixels, so a remembered band is found wherever they come again.
func (d *drawn) Name(y0, y1 int) name.Name { return name.Of(d.pix[4*d.w*y0 : 4*d.w*y1]) }

// Draw draws into the same memory each time, as a renderer does.
func (d *drawn) Draw(y0, y1 int) ([]uint8, error) {
	d.rows += y1 - y0
	d.room = append(d.room[:0], d.pix[4*d.w*y0:4*d.w*y1]...)
	return d.room, nil
}

// encode writes a picture whose bands may be remembered.
func encode(t testing.TB, e *Encoder, pix []uint8, w, h int) []byte {
	t.Helper()
	data, err := e.Encode(&drawn{pix: pix, w: w}, w, h, 300)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func opaque(pix []uint8) []uint8 {
	pix = bytes.Clone(pix)
	for i := 3; i < len(pix); i += 4 {
		pix[i] = 255
	}
	return pix
}

// picture is of one of the kinds that make deflate's and the filters' ways differ.
func picture(kind string, w, h int) []uint8 {
	r := rand.New(rand.NewPCG(1, uint64(w*h)))
	pix := make([]uint8, 4*w*h)
	for y := range h {
		for x := range w {
			p := pix[4*(y*w+x):]
			switch kind {
			case "noise":
				p[0], p[1], p[2] = uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32())
			case "flat":
				p[0], p[1], p[2] = 20, 200, 7
			case "gradient":
				p[0], p[1], p[2] = uint8(x*255/w), uint8(y*255/h), uint8((x+y)/2)
			case "stripes":
				p[0], p[1], p[2] = uint8(x%3*80), uint8(x%7*30), uint8(x%2*255)
			case "tiles":
				p[0], p[1], p[2] = uint8(x%24*y%24*91), uint8(x%24*37^y%24*53), uint8(y%24*11)
			case "skewed": // frequencies that double: codes longer than the limit
				v := uint8(min(40, int(-math.Log2(1-r.Float64()))))
				p[0], p[1], p[2] = v, v*3, v*7
			case "spots":
				if r.IntN(40) == 0 {
					p[r.IntN(3)] = uint8(r.Uint32())
				}
			}
			p[3] = 255
		}
	}
	return pix
}

var pictureKinds = []string{"noise", "flat", "gradient", "stripes", "skewed", "spots", "tiles"}

func TestRoundTrip(t *testing.T) {
	e := New(1 << 20)
	for _, kind := range pictureKinds {
		for _, size := range [][2]int{{1, 1}, {2, 1}, {1, 2}, {3, 5}, {4, 4}, {5, 33}, {7, 64}, {97, 131}, {750, 70}, {1, 3000}, {100_000, 2}} {
			w, h := size[0], size[1]
			pix := picture(kind, w, h)
			first := e.EncodePixels(pix, w, h, 300)
			got, gw, gh := decode(t, first)
			if gw != w || gh != h || !bytes.Equal(got, pix) {
				t.Errorf("%s, %d x %d: other pixels came back", kind, w, h)
			}
			// The second time that they have names bands are stored, the third time they are taken from memory.
			for range 3 {
				if again := encode(t, e, pix, w, h); !bytes.Equal(again, first) {
					t.Errorf("%s, %d x %d: other bytes than the first time", kind, w, h)
				}
			}
		}
	}
}

// Whatever it is, a file is not much larger than image/png's, or small anyhow, at most a fifth of the pixels. The
// exception is noise in few colours: it takes a search for short matches at every byte.
func TestSizeOnPlainPictures(t *testing.T) {
	for _, kind := range []string{"noise", "flat", "gradient", "stripes", "spots", "tiles"} {
		pix := picture(kind, 400, 300)
		var standard bytes.Buffer
		if err := png.Encode(&standard, &image.RGBA{Pix: pix, Stride: 1600, Rect: image.Rect(0, 0, 400, 300)}); err != nil {
			t.Fatal(err)
		}
		if ours := len(New(0).EncodePixels(pix, 400, 300, 300)); ours > max(standard.Len()*3/2, len(pix)*3/4/5) {
			t.Errorf("%s: %d bytes, image/png needs %d", kind, ours, standard.Len())
		}
	}
}

// TestRememberedBands changes a picture at random and compares an encoder with a memory to one without.
func TestRememberedBands(t *testing.T) {
	const w, h = 60, 200
	r := rand.New(rand.NewPCG(3, 4))
	e := New(40_000) // small enough to forget
	pix := picture("gradient", w, h)
	for range 400 {
		switch r.IntN(3) {
		case 0: // a spot
			pix[4*r.IntN(w*h)+r.IntN(3)] ^= uint8(1 + r.IntN(255))
		case 1: // rows that were elsewhere before
			from, to := r.IntN(h-40), r.IntN(h-40)
			copy(pix[4*w*to:4*w*(to+40)], bytes.Clone(pix[4*w*from:4*w*(from+40)]))
		}
		if !bytes.Equal(encode(t, e, pix, w, h), New(0).EncodePixels(pix, w, h, 300)) {
			t.Fatal("a remembered band was not that of these pixels")
		}
		if n := e.Remembered(); n > 40_000 {
			t.Fatalf("%d bytes remembered", n)
		}
	}
	if e.Remembered() == 0 {
		t.Error("nothing was remembered")
	}
}

// A part that is remembered is not drawn, and what cannot be drawn leaves no file.
func TestOnlyWhatIsNewIsDrawn(t *testing.T) {
	const w, h = 60, 3 * bandRows
	e := New(1 << 20)
	pix := picture("noise", w, h)
	for round := range 4 {
		d := &drawn{pix: pix, w: w}
		if _, err := e.Encode(d, w, h, 300); err != nil {
			t.Fatal(err)
		}
		if want := h + 2; round < 2 && d.rows != want || round >= 2 && d.rows != 0 { // two bands with a row above
			t.Errorf("time %d: %d rows were drawn", round+1, d.rows)
		}
	}
	d := &drawn{pix: bytes.Clone(pix), w: w}
	d.pix[4*w*(h-1)]++ // the last band is another
	if data, err := e.Encode(d, w, h, 300); err != nil || d.rows != bandRows+1 || !bytes.Equal(data, New(0).EncodePixels(d.pix, w, h, 300)) {
		t.Errorf("%d rows were drawn (%v)", d.rows, err)
	}
	for range 3 {
		if data, err := e.Encode(broken{}, w, h, 300); data != nil || err != errBroken {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
}

var errBroken = errors.New("no ink")

// broken cannot be drawn from its second band on.
type broken struct{}

func (broken) Name(y0, y1 int) name.Name { return name.Of([]byte{byte(y0), byte(y1)}) }

func (broken) Draw(y0, y1 int) ([]uint8, error) {
	if y0 > 0 {
		return nil, errBroken
	}
	return make([]uint8, 240*(y1-y0)), nil
}

func TestConcurrentEncoding(t *testing.T) {
	e := New(1 << 20)
	var wg sync.WaitGroup
	for _, kind := range pictureKinds {
		pix := picture(kind, 120, 100)
		want := New(0).EncodePixels(pix, 120, 100, 300)
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if got, err := e.Encode(&drawn{pix: pix, w: 120}, 120, 100, 300); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: other bytes", kind)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestCodeLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 2000 {
		n, limit := 2+r.IntN(literals-1), uint(maxBits)
		if round%2 == 0 {
			n, limit = 2+r.IntN(18), 7
		}
		freq := make([]uint32, n)
		for i := range freq {
			if round%3 == 0 {
				freq[i] = 1 << min(i, 23) // as deep as a tree can be
			} else {
				freq[i] = uint32(r.IntN(1 << r.IntN(16)))
			}
		}
		lengths := make([]uint8, n)
		codeLengths(lengths, freq, limit)
		used, total := 0, 0
		for i, l := range lengths {
			if (l == 0) != (freq[i] == 0) || uint(l) > limit {
				t.Fatalf("frequency %d got a code of %d bits; limit %d", freq[i], l, limit)
			}
			if l > 0 {
				total++
				used += 1 << (limit - uint(l))
			}
		}
		if total > 1 && used != 1<<limit {
			t.Fatalf("%d codes take %d of %d", total, used, 1<<limit)
		}
	}
}

// FuzzEncode has image/png read what was written, with a memory that other pictures have filled.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabc"), uint8(3))
	f.Add(bytes.Repeat([]byte{0}, 5000), uint8(40))
	f.Add(picture("noise", 30, 30), uint8(30))
	f.Add(picture("spots", 30, 70), uint8(30))
	e := New(1 << 20)
	f.Fuzz(func(t *testing.T, data []byte, width uint8) {
		w := int(width) + 1
		h := len(data) / (4 * w)
		if h == 0 {
			return
		}
		pix := opaque(data[:4*w*h])
		for range 3 {
			got, gw, gh := decode(t, encode(t, e, pix, w, h))
			if gw != w || gh != h || !bytes.Equal(got, pix) {
				t.Fatal("other pixels came back")
			}
		}
	})
}
