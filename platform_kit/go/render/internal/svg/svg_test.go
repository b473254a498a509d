package svg

import (
	"context"
	"fmt"
	"image/color"
	"testing"
	"time"

	"platform-kit/render/internal/vg"
)

func draw(t testing.TB, inner string) *vg.Canvas {
	t.Helper()
	img, err := Parse([]byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100">` + inner + `</svg>`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.Draw(context.Background(), 100, 100, Options{X: 0.5, Y: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	none  = color.RGBA{}
	red   = color.RGBA{255, 0, 0, 255}
	green = color.RGBA{0, 128, 0, 255}
	blue  = color.RGBA{0, 0, 255, 255}
	half  = color.RGBA{128, 0, 0, 128}
)

// Every case names pixels and the colours that SVG says they have.
func TestWhatIsDrawn(t *testing.T) {
	type at struct {
		x, y int
		want color.RGBA
	}
	for name, c := range map[string]struct {
		svg    string
		pixels []at
	}{
		"attributes":        {`<rect x="10" y="10" width="30" height="30" fill="red"/>`, []at{{20, 20, red}, {50, 20, none}}},
		"style wins":        {`<rect width="50" height="50" fill="red" style="fill:#00f"/>`, []at{{20, 20, blue}}},
		"style sheet":       {`<style>rect{fill:red}.b{fill:blue}#g{fill:green}</style><rect width="20" height="20"/><rect x="20" width="20" height="20" class="b"/><rect id="g" class="b" x="40" width="20" height="20"/>`, []at{{10, 10, red}, {30, 10, blue}, {50, 10, green}}},
		"inherited":         {`<g fill="red"><g fill="blue"><rect width="9" height="9"/></g><rect x="20" width="9" height="9"/></g>`, []at{{4, 4, blue}, {24, 4, red}}},
		"currentColor":      {`<g color="blue"><rect width="9" height="9" fill="currentColor"/></g>`, []at{{4, 4, blue}}},
		"transforms":        {`<g transform="translate(50 50) rotate(90) scale(2)"><rect width="20" height="5" fill="red"/></g>`, []at{{45, 70, red}, {60, 55, none}}},
		"group opacity":     {`<g opacity=".5"><rect width="50" height="50" fill="red"/><rect width="50" height="50" fill="red"/></g>`, []at{{20, 20, half}}},
		"fill opacity":      {`<rect width="50" height="50" fill="red" fill-opacity="50%"/>`, []at{{20, 20, half}}},
		"even odd":          {`<path fill="red" fill-rule="evenodd" d="M0 0h60v60h-60z M20 20h20v20h-20z"/>`, []at{{10, 10, red}, {30, 30, none}}},
		"non zero":          {`<path fill="red" d="M0 0h60v60h-60z M20 20h20v20h-20z"/>`, []at{{10, 10, red}, {30, 30, red}}},
		"non zero hole":     {`<path fill="red" d="M0 0h60v60h-60z M20 20v20h20v-20z"/>`, []at{{10, 10, red}, {30, 30, none}}},
		"arc":               {`<path fill="red" d="M10 50A40 40 0 0 1 90 50Z"/>`, []at{{50, 20, red}, {50, 60, none}, {12, 15, none}}},
		"arc flags":         {`<path fill="red" d="M10 50a40 40 0 0180 0z"/>`, []at{{50, 20, red}}},
		"stroke":            {`<path fill="none" stroke="red" stroke-width="10" d="M10 50H90"/>`, []at{{50, 47, red}, {50, 53, red}, {50, 60, none}, {5, 50, none}}},
		"round caps":        {`<path fill="none" stroke="red" stroke-width="20" stroke-linecap="round" d="M20 50H80"/>`, []at{{13, 50, red}, {11, 42, none}}},
		"square caps":       {`<path fill="none" stroke="red" stroke-width="20" stroke-linecap="square" d="M20 50H80"/>`, []at{{11, 42, red}}},
		"miter":             {`<path fill="none" stroke="red" stroke-width="20" d="M20 80V20H80"/>`, []at{{12, 12, red}}},
		"bevel":             {`<path fill="none" stroke="red" stroke-width="20" stroke-linejoin="bevel" d="M20 80V20H80"/>`, []at{{11, 11, none}, {20, 20, red}}},
		"dashes":            {`<path fill="none" stroke="red" stroke-width="10" stroke-dasharray="20 20" d="M0 50H100"/>`, []at{{10, 50, red}, {30, 50, none}, {50, 50, red}}},
		"linear gradient":   {`<linearGradient id="g"><stop offset=".5" stop-color="red"/><stop offset=".5" stop-color="blue"/></linearGradient><rect width="100" height="9" fill="url(#g)"/>`, []at{{20, 4, red}, {80, 4, blue}}},
		"gradient by href":  {`<linearGradient id="a"><stop stop-color="red"/><stop offset="1" stop-color="red"/></linearGradient><linearGradient id="b" xlink:href="#a"/><rect width="9" height="9" fill="url(#b)"/>`, []at{{4, 4, red}}},
		"radial gradient":   {`<radialGradient id="g" r=".25"><stop offset="1" stop-color="red"/><stop offset="1" stop-color="blue"/></radialGradient><rect width="100" height="100" fill="url(#g)"/>`, []at{{50, 50, red}, {90, 50, blue}}},
		"gradient's box":    {`<linearGradient id="g" x2="0" y2="1"><stop offset=".1" stop-color="red"/><stop offset=".1" stop-color="blue"/></linearGradient><path d="M0 90C0 -30 100 -30 100 90Z" fill="url(#g)"/>`, []at{{50, 4, red}, {50, 12, blue}}},
		"missing paint":     {`<rect width="9" height="9" fill="url(#no) blue"/>`, []at{{4, 4, blue}}},
		"clip path":         {`<clipPath id="c"><circle cx="50" cy="50" r="20"/></clipPath><rect width="100" height="100" fill="red" clip-path="url(#c)"/>`, []at{{50, 50, red}, {20, 20, none}}},
		"clip path in box":  {`<clipPath id="c" clipPathUnits="objectBoundingBox"><rect width=".5" height="1"/></clipPath><rect x="20" y="20" width="60" height="60" fill="red" clip-path="url(#c)"/>`, []at{{30, 50, red}, {60, 50, none}}},
		"mask":              {`<mask id="m"><rect width="50" height="100" fill="white"/></mask><rect width="100" height="100" fill="red" mask="url(#m)"/>`, []at{{25, 50, red}, {75, 50, none}}},
		"use":               {`<defs><rect id="r" width="9" height="9" fill="red"/></defs><use href="#r" x="50" y="50"/>`, []at{{4, 4, none}, {54, 54, red}}},
		"use inherits":      {`<defs><rect id="r" width="9" height="9"/></defs><use xlink:href="#r" fill="blue"/>`, []at{{4, 4, blue}}},
		"symbol":            {`<symbol id="s" viewBox="0 0 2 2"><rect width="1" height="2" fill="red"/></symbol><use href="#s" x="20" y="20" width="40" height="40"/>`, []at{{30, 40, red}, {50, 40, none}, {10, 40, none}}},
		"nested svg":        {`<svg x="50" width="50" height="50" viewBox="0 0 1 1"><rect width="1" height="1" fill="red"/></svg>`, []at{{75, 25, red}, {25, 25, none}, {75, 75, none}}},
		"pattern":           {`<pattern id="p" width="20" height="20" patternUnits="userSpaceOnUse"><rect width="10" height="20" fill="red"/></pattern><rect width="100" height="100" fill="url(#p)"/>`, []at{{5, 5, red}, {15, 5, none}, {45, 50, red}}},
		"hidden":            {`<g display="none"><rect width="9" height="9"/></g><rect width="9" height="9" visibility="hidden"/>`, []at{{4, 4, none}}},
		"defs are not seen": {`<defs><rect width="9" height="9"/></defs><metadata><rect width="9" height="9"/></metadata>`, []at{{4, 4, none}}},
		"cycles end":        {`<g id="a"><use href="#a"/><rect width="9" height="9" fill="red"/></g>`, []at{{4, 4, red}}},
		"percentages":       {`<rect x="50%" width="50%" height="100%" fill="red"/>`, []at{{75, 50, red}, {25, 50, none}}},
		"script":            {`<script>alert(1)</script><rect width="9" height="9" fill="red" onclick="x()"/>`, []at{{4, 4, red}}},
	} {
		canvas := draw(t, c.svg)
		for _, p := range c.pixels {
			if got := canvas.Color(p.x, p.y); !near(got, p.want) {
				t.Errorf("%s: (%d, %d) is %v, wanted %v", name, p.x, p.y, got, p.want)
			}
		}
	}
}

func near(a, b color.RGBA) bool {
	d := func(x, y uint8) bool { return int(x)-int(y) < 3 && int(y)-int(x) < 3 }
	return d(a.R, b.R) && d(a.G, b.G) && d(a.B, b.B) && d(a.A, b.A)
}

// A cloud that fades out in front of a bright moon: all of it is at least as bright
// as the darker of the two. One step too much in red would be black and show as lines.
func TestBrightOnBrightStaysBright(t *testing.T) {
	for opacity := 0.01; opacity < 1; opacity += 0.03 {
		c := draw(t, fmt.Sprintf(`<radialGradient id="m"><stop stop-color="#fff3d0"/><stop offset="1" stop-color="#fff0c0"/></radialGradient>
			<linearGradient id="c" x2="0" y2="1"><stop stop-color="#ffe9b3"/><stop offset="1" stop-color="#ffe9b3" stop-opacity=".25"/></linearGradient>
			<rect width="100" height="100" fill="url(#m)"/><ellipse cx="50" cy="50" rx="40" ry="45" fill="url(#c)" opacity="%.2f"/>
			<g opacity="%.2f"><circle cx="30" cy="60" r="30" fill="url(#c)"/></g>`, opacity, opacity))
		for y := range 100 {
			for x := range 100 {
				if got := c.Color(x, y); got.R < 254 || got.G < 0xe8 || got.B < 0xb2 || got.A != 255 {
					t.Fatalf("opacity %.2f: (%d, %d) is %v", opacity, x, y, got)
				}
			}
		}
	}
}

func TestCoverKeepsThePosition(t *testing.T) {
	img, err := Parse([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100"><rect width="100" height="100" fill="red"/><rect x="100" width="100" height="100" fill="blue"/></svg>`))
	if err != nil {
		t.Fatal(err)
	}
	for x, want := range map[float64]color.RGBA{0: red, 1: blue} {
		c, err := img.Draw(context.Background(), 50, 50, Options{Cover: true, X: x, Y: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Color(25, 25); !near(got, want) {
			t.Errorf("position %g: %v, wanted %v", x, got, want)
		}
	}
}

func FuzzDraw(f *testing.F) {
	f.Add([]byte(`<svg viewBox="0 0 9 9"><path d="M0 0C1 1 2 2 3 3z" stroke="red" stroke-dasharray="1 2"/></svg>`))
	f.Add([]byte(`<svg viewBox="0 0 9 9"><mask id="m"><rect width="9" height="9"/></mask><g mask="url(#m)" opacity=".5"><use href="#m"/></g></svg>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Parse(data)
		if err != nil {
			return
		}
		started := time.Now()
		_, _ = img.Draw(context.Background(), 32, 32, Options{})
		if d := time.Since(started); d > 20*time.Second {
			t.Fatalf("took %v", d)
		}
	})
}
