package vg

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Color is a colour with straight (not premultiplied) alpha.
type Color struct{ R, G, B, A uint8 }

// Hex reads #rgb, #rgba, #rrggbb or #rrggbbaa.
func Hex(s string) (Color, error) {
	h := strings.TrimPrefix(s, "#")
	if len(h) == 3 || len(h) == 4 {
		var b strings.Builder
		for _, r := range h {
			b.WriteRune(r)
			b.WriteRune(r)
		}
		h = b.String()
	}
	if len(h) == 6 {
		h += "ff"
	}
	v, err := strconv.ParseUint(h, 16, 32)
	if err != nil || len(h) != 8 || !strings.HasPrefix(s, "#") {
		return Color{}, fmt.Errorf("%q is not a colour; use #rgb, #rrggbb or #rrggbbaa", s)
	}
	return Color{uint8(v >> 24), uint8(v >> 16), uint8(v >> 8), uint8(v)}, nil
}

// Alpha returns c with its alpha multiplied by a, 0 to 1.
func (c Color) Alpha(a float64) Color {
	c.A = uint8(math.Round(float64(c.A) * min(max(a, 0), 1)))
	return c
}

// Mix returns the colour at t, 0 to 1, between c and d.
func (c Color) Mix(d Color, t float64) Color {
	t = min(max(t, 0), 1)
	f := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*t)) }
	return Color{f(c.R, d.R), f(c.G, d.G), f(c.B, d.B), f(c.A, d.A)}
}

// Luma is how bright c looks, 0 to 1.
func (c Color) Luma() float64 {
	return (0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)) / 255
}

// HSL makes a colour from hue in degrees, saturation and lightness 0 to 1.
func HSL(h, s, l float64) Color {
	h = math.Mod(math.Mod(h, 360)+360, 360)
	c := (1 - math.Abs(2*l-1)) * s
	x := c * (1 - math.Abs(math.Mod(h/60, 2)-1))
	var r, g, b float64
	switch int(h / 60) {
	case 0:
		r, g = c, x
	case 1:
		r, g = x, c
	case 2:
		g, b = c, x
	case 3:
		g, b = x, c
	case 4:
		r, b = x, c
	default:
		r, b = c, x
	}
	m := l - c/2
	f := func(v float64) uint8 { return uint8(math.Round(min(max(v+m, 0), 1) * 255)) }
	return Color{f(r), f(g), f(b), 255}
}

// ToHSL is the inverse of [HSL].
func (c Color) ToHSL() (h, s, l float64) {
	r, g, b := float64(c.R)/255, float64(c.G)/255, float64(c.B)/255
	hi, lo := max(r, g, b), min(r, g, b)
	l = (hi + lo) / 2
	d := hi - lo
	if d == 0 {
		return 0, 0, l
	}
	s = d / (1 - math.Abs(2*l-1))
	switch hi {
	case r:
		h = 60 * math.Mod((g-b)/d+6, 6)
	case g:
		h = 60 * ((b-r)/d + 2)
	default:
		h = 60 * ((r-g)/d + 4)
	}
	return h, s, l
}

// premul is a pixel with its colours multiplied by its alpha: red in the lowest
// byte, then green, blue and alpha, as in memory. No colour is above the alpha,
// so that blending (see over) cannot overflow into the next byte.
type premul uint32

func (c Color) premul() premul {
	a := uint32(c.A)
	return pixel(uint8(uint32(c.R)*a/255), uint8(uint32(c.G)*a/255), uint8(uint32(c.B)*a/255), c.A)
}

func pixel(r, g, b, a uint8) premul {
	return premul(r) | premul(g)<<8 | premul(b)<<16 | premul(a)<<24
}

func (p premul) alpha() uint32 { return uint32(p >> 24) }

// lanes are four bytes with room to be multiplied, one in every 16 bits.
const lanes = 0x00ff00ff00ff00ff

// scale multiplies all four bytes by k of 255, rounded.
func (p premul) scale(k uint32) premul {
	const even, odd = 0x00ff00ff, 0xff00ff00
	x := uint64(p&even) | uint64(p&odd)<<24
	x = x*uint64(k) + 0x0080008000800080 // at most 65153 in 16 bits
	x += x >> 8 & lanes                  // v/255, exact for every v up to 255*255, is in the upper eight
	return premul(x>>8&even | x>>32&odd)
}

// scale2 is scale for two pixels at once.
func scale2(pair uint64, k uint32) uint64 {
	even := pair&lanes*uint64(k) + 0x0080008000800080
	odd := pair>>8&lanes*uint64(k) + 0x0080008000800080
	even += even >> 8 & lanes
	odd += odd >> 8 & lanes
	return even>>8&lanes | odd&^lanes
}

// over is s on top of p.
func (p premul) over(s premul) premul { return s + p.scale(255-s.alpha()) }
