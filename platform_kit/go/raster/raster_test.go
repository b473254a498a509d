package raster

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"slices"
	"testing"
)

func TestScalingKeepsFlatColoursAndEdges(t *testing.T) {
	for _, fill := range []color.NRGBA{{255, 255, 255, 255}, {0, 0, 0, 255}, {200, 30, 90, 255}, {255, 0, 0, 128}, {9, 9, 9, 1}} {
		img := image.NewNRGBA(image.Rect(0, 0, 301, 211))
		for i := 0; i < len(img.Pix); i += 4 {
			img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = fill.R, fill.G, fill.B, fill.A
		}
		for _, size := range []image.Point{{100, 70}, {7, 5}, {1, 1}, {300, 210}} {
			out := Scaled(img, size.X, size.Y)
			for i := 0; i < len(out.Pix); i += 4 {
				got := color.NRGBA{out.Pix[i], out.Pix[i+1], out.Pix[i+2], out.Pix[i+3]}
				if near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 1 }; fill.A > 1 &&
					!(near(got.R, fill.R) && near(got.G, fill.G) && near(got.B, fill.B)) || got.A != fill.A {
					t.Fatalf("%v in %v became %v", fill, size, got)
				}
			}
		}
	}
}

func TestTurnedAndBackIsTheSamePicture(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	for i := range img.Pix {
		img.Pix[i] = byte(i)
	}
	for turned, back := range map[int]int{2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6} {
		if again := Upright(Upright(img, turned), back); !bytes.Equal(again.Pix, img.Pix) || again.Rect != img.Rect {
			t.Errorf("orientation %d and back is another picture", turned)
		}
	}
}

// iccProfile returns a profile of three primaries with one gamma.
func iccProfile(space string, primaries [3][3]float64, gamma float64) []byte {
	fixed := func(v float64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(int32(v*65536))) }
	head := make([]byte, 128)
	copy(head[16:], space)
	copy(head[36:], "acsp")
	var tags, body []byte
	add := func(name string, data []byte) {
		tags = append(tags, name...)
		tags = binary.BigEndian.AppendUint32(tags, uint32(128+4+7*12+len(body)))
		tags = binary.BigEndian.AppendUint32(tags, uint32(len(data)))
		body = append(body, data...)
	}
	trc := append(append([]byte("para\x00\x00\x00\x00"), 0, 0, 0, 0), fixed(gamma)...)
	add("kTRC", trc)
	for i, name := range []string{"r", "g", "b"} {
		xyz := []byte("XYZ \x00\x00\x00\x00")
		for _, v := range primaries[i] {
			xyz = append(xyz, fixed(v)...)
		}
		add(name+"XYZ", xyz)
		add(name+"TRC", trc)
	}
	return slices.Concat(head, binary.BigEndian.AppendUint32(nil, 7), tags, body)
}

var displayP3 = [3][3]float64{{0.5151, 0.2412, -0.0011}, {0.2919, 0.6922, 0.0419}, {0.1572, 0.0666, 0.7841}}
var srgb = [3][3]float64{{0.4360, 0.2225, 0.0139}, {0.3851, 0.7169, 0.0971}, {0.1431, 0.0606, 0.7141}}

func TestColoursOfAProfileBecomeSRGB(t *testing.T) {
	p3 := ParseProfile(iccProfile("RGB ", displayP3, 2.2))
	if p3 == nil || p3.IsSRGB() {
		t.Fatal("Display P3 is taken for sRGB, or not read")
	}
	// Green of P3 lies outside of sRGB: red and blue fall to nothing.
	if got := p3.convert(0, 255, 0); got != [3]uint8{0, 255, 0} {
		t.Errorf("green became %v", got)
	}
	if got := p3.convert(128, 128, 128); max(got[0], got[1], got[2])-min(got[0], got[1], got[2]) > 2 || got[0] < 124 || got[0] > 132 {
		t.Errorf("grey became %v", got)
	}
	same := ParseProfile(iccProfile("RGB ", srgb, 2.2))
	if same == nil {
		t.Fatal("sRGB's own primaries are not read")
	}
	for _, c := range [][3]uint8{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}} {
		if got := same.convert(c[0], c[1], c[2]); max(got[0], c[0])-min(got[0], c[0]) > 3 || max(got[1], c[1])-min(got[1], c[1]) > 3 {
			t.Errorf("%v became %v", c, got)
		}
	}
	if grey := ParseProfile(iccProfile("GRAY", srgb, 1.0)); grey == nil || grey.convert(128, 128, 128)[0] < 180 {
		t.Error("linear grey is not made lighter")
	}
	for name, data := range map[string][]byte{
		"none": nil, "short": make([]byte, 131), "ink": iccProfile("CMYK", srgb, 2.2),
		"cut": iccProfile("RGB ", srgb, 2.2)[:300], "steep": iccProfile("RGB ", srgb, -900),
	} {
		if ParseProfile(data) != nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(iccProfile("RGB ", displayP3, 2.2))
	f.Add(iccProfile("GRAY", srgb, 1))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if p := ParseProfile(data); p != nil {
			p.convert(1, 2, 3)
		}
	})
}
