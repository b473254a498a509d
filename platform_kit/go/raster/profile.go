package raster

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
	"math"

	"github.com/klauspost/compress/zlib"
)

// Colour profiles of the usual kind: three primaries and a curve each, or a curve for grey. Others, such as those of
// printing inks, are left out with a warning. The format: ICC.1:2022, https://www.color.org/specification/ICC.1-2022-05.pdf

// Profile turns a picture's colours into sRGB.
type Profile struct {
	curves [3][256]float64 // to linear light
	matrix [9]float64      // to linear sRGB
}

// fromD50 leads from the profile's connection space, XYZ under D50, to linear sRGB.
var fromD50 = [9]float64{
	3.1341359, -1.6173863, -0.4906619,
	-0.9787955, 1.9162543, 0.0334427,
	0.0719555, -0.2289768, 1.4053860,
}

// ParseProfile reads an ICC profile; nil means that it cannot be used.
func ParseProfile(data []byte) *Profile {
	if len(data) < 132 || string(data[36:40]) != "acsp" {
		return nil
	}
	tags := map[string][]byte{}
	count := binary.BigEndian.Uint32(data[128:])
	for n, at := uint32(0), 132; n < min(count, 200) && at+12 <= len(data); n, at = n+1, at+12 {
		offset, size := int64(binary.BigEndian.Uint32(data[at+4:])), int64(binary.BigEndian.Uint32(data[at+8:]))
		if offset+size <= int64(len(data)) {
			tags[string(data[at:at+4])] = data[offset : offset+size]
		}
	}
	p := &Profile{}
	switch string(data[16:20]) {
	case "GRAY":
		if !curve(tags["kTRC"], &p.curves[0]) {
			return nil
		}
		p.curves[1], p.curves[2] = p.curves[0], p.curves[0]
		p.matrix = [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}
		return p
	case "RGB ":
	default:
		return nil
	}
	var columns [3][3]float64
	for i, name := range []string{"r", "g", "b"} {
		xyz := tags[name+"XYZ"]
		if len(xyz) < 20 || !curve(tags[name+"TRC"], &p.curves[i]) {
			return nil
		}
		for j := range 3 {
			columns[i][j] = float64(int32(binary.BigEndian.Uint32(xyz[8+4*j:]))) / 65536
		}
	}
	for row := range 3 {
		for c := range 3 {
			for j := range 3 {
				p.matrix[3*row+c] += float64(fromD50[3*row+j] * columns[c][j])
			}
		}
	}
	return p
}

// curve fills in a tone curve of type curv or para.
func curve(tag []byte, out *[256]float64) bool {
	if len(tag) < 12 {
		return false
	}
	fixed := func(n int) float64 { return float64(int32(binary.BigEndian.Uint32(tag[12+4*n:]))) / 65536 }
	var f func(x float64) float64
	switch string(tag[:4]) {
	case "curv":
		n := int(binary.BigEndian.Uint32(tag[8:]))
		switch {
		case n == 0:
			f = func(x float64) float64 { return x }
		case n < 0 || n > (len(tag)-12)/2:
			return false
		case n == 1:
			gamma := float64(binary.BigEndian.Uint16(tag[12:])) / 256
			f = func(x float64) float64 { return math.Pow(x, gamma) }
		default:
			at := func(i int) float64 { return float64(binary.BigEndian.Uint16(tag[12+2*i:])) / 65535 }
			f = func(x float64) float64 {
				i := min(int(x*float64(n-1)), n-2)
				rest := float64(x*float64(n-1)) - float64(i)
				return at(i) + float64((at(i+1)-at(i))*rest)
			}
		}
	case "para":
		kind := binary.BigEndian.Uint16(tag[8:])
		if kind > 4 || len(tag) < 12+4*[]int{1, 3, 4, 5, 7}[kind] {
			return false
		}
		g, a, b, c, d, e, o := fixed(0), 1.0, 0.0, 0.0, math.Inf(-1), 0.0, 0.0
		switch kind {
		case 1:
			a, b = fixed(1), fixed(2)
			d = -b / a
		case 2:
			a, b, e = fixed(1), fixed(2), fixed(3)
			d, o = -b/a, e
		case 3:
			a, b, c, d = fixed(1), fixed(2), fixed(3), fixed(4)
		case 4:
			a, b, c, d, e, o = fixed(1), fixed(2), fixed(3), fixed(4), fixed(5), fixed(6)
		}
		f = func(x float64) float64 {
			if x >= d {
				return math.Pow(math.Max(float64(a*x)+b, 0), g) + e
			}
			return float64(c*x) + o
		}
	default:
		return false
	}
	for i := range out {
		v := f(float64(i) / 255)
		if !(v >= -1 && v <= 2) {
			return false
		}
		out[i] = v
	}
	return true
}

// toSRGB is the curve of sRGB, in steps fine enough for 8 bits.
var toSRGB = func() (table [4096]uint8) {
	for i := range table {
		v := float64(i) / 4095
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = float64(1.055*math.Pow(v, 1/2.4)) - 0.055
		}
		table[i] = uint8(math.Round(v * 255))
	}
	return table
}()

func (p *Profile) convert(r, g, b uint8) (out [3]uint8) {
	in := [3]float64{p.curves[0][r], p.curves[1][g], p.curves[2][b]}
	for c := range 3 {
		m := p.matrix[3*c : 3*c+3]
		v := float64(m[0]*in[0]) + float64(m[1]*in[1]) + float64(m[2]*in[2])
		out[c] = toSRGB[int(math.Round(math.Min(math.Max(v, 0), 1)*4095))]
	}
	return out
}

// IsSRGB tells whether the profile changes nothing one could see, so that the pixels stay as they are.
func (p *Profile) IsSRGB() bool {
	for _, r := range []uint8{0, 64, 128, 192, 255} {
		for _, g := range []uint8{0, 64, 128, 192, 255} {
			for _, b := range []uint8{0, 64, 128, 192, 255} {
				out := p.convert(r, g, b)
				for c, v := range [3]uint8{r, g, b} {
					if d := int(out[c]) - int(v); d < -3 || d > 3 {
						return false
					}
				}
			}
		}
	}
	return true
}

// Apply converts a picture.
func (p *Profile) Apply(img *image.NRGBA) {
	var last [3]uint8
	var is [3]uint8
	known := false
	for i := 0; i+4 <= len(img.Pix); i += 4 {
		px := img.Pix[i : i+4 : i+4]
		if in := [3]uint8{px[0], px[1], px[2]}; !known || in != last {
			last, is, known = in, p.convert(in[0], in[1], in[2]), true
		}
		px[0], px[1], px[2] = is[0], is[1], is[2]
	}
}

// inflate unpacks a profile, as far as one may be.
func inflate(packed []byte) []byte {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(z, maxProfile+1))
	if err != nil || len(data) > maxProfile {
		return nil
	}
	return data
}
