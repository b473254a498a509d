package art

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"platform-kit/internal/rastertest"
	"platform-kit/raster"
)

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 4 3">`

// hostile is what must be refused, with a word of the reason.
func hostile(t testing.TB) map[string]rastertest.Hostile {
	all := map[string]rastertest.Hostile{
		"JPEG called PNG": {rastertest.JPEG(t, 64, 48), "png", "its content is JPEG; name it .jpg"},
		"PNG called SVG":  {rastertest.PNG(t, 40, 30), "svg", "its content is PNG"},
		"SVG called PNG":  {[]byte(svgHead + "</svg>"), "png", "its content is SVG"},
		"svgz":            {[]byte("\x1f\x8b\x08\x00more"), "svg", "gzip"},
		"HTML":            {[]byte("<!doctype html><html><body>"), "svg", "HTML"},
		"UTF-16":          {[]byte("\xff\xfe<\x00s\x00"), "svg", "UTF-16"},
		"a cut SVG":       {[]byte(svgHead + "<g>"), "svg", "well-formed"},
		"no SVG":          {[]byte("<note/>"), "svg", "no <svg>"},
		"entities": {[]byte(`<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>` + svgHead + "&b;</svg>"),
			"svg", "entities"},
		"external entity": {[]byte(`<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + svgHead + "&x;</svg>"),
			"svg", "entities"},
		"deep SVG":       {[]byte(svgHead + strings.Repeat("<g>", 100_000) + strings.Repeat("</g>", 100_000) + "</svg>"), "svg", "deep"},
		"many elements":  {[]byte(svgHead + strings.Repeat("<g/>", 200_000) + "</svg>"), "svg", "elements"},
		"a file":         {[]byte(svgHead + `<image xlink:href="file:///etc/passwd" width="4" height="3"/></svg>`), "svg", "outside of the file"},
		"an address":     {[]byte(svgHead + `<image href="https://example.org/a.png" width="4" height="3"/></svg>`), "svg", "outside of the file"},
		"used elsewhere": {[]byte(svgHead + `<use href="other.svg#a"/></svg>`), "svg", "outside of the file"},
		"a style sheet":  {[]byte(svgHead + `<style>@import "https://example.org/a.css";</style></svg>`), "svg", "outside of the file"},
		"a font":         {[]byte(svgHead + `<style>@font-face{font-family:a;src:url('http://example.org/a')}</style></svg>`), "svg", "outside of the file"},
		"a processing instruction": {[]byte(`<?xml-stylesheet href="https://example.org/a.css"?>` + svgHead + `</svg>`),
			"svg", "outside of the file"},
		"a nested SVG": {[]byte(svgHead + `<image href="data:image/svg+xml;base64,PHN2Zy8+" width="4" height="3"/></svg>`), "svg", "neither PNG nor JPEG"},
		"a huge size":  {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="5000000" height="5"/>`), "svg", "units"},
		"endless use": {[]byte(svgHead + `<g id="a"><rect width="4" height="3"/></g>` + doublings(30) + `<use href="#u30"/></svg>`),
			"svg", "too much work"},
	}
	maps.Copy(all, rastertest.AllHostile(t))
	return all
}

// doublings defines groups that each draw the one before twice.
func doublings(n int) string {
	var out strings.Builder
	before := "a"
	for i := 1; i <= n; i++ {
		name := "u" + strconv.Itoa(i)
		out.WriteString(`<g id="` + name + `"><use href="#` + before + `"/><use href="#` + before + `"/></g>`)
		before = name
	}
	return out.String()
}

var usual = Options{LongestSide: 1024, ThumbnailSide: 256}

func TestWhatIsHostileIsRefusedWithItsReason(t *testing.T) {
	studio := NewStudio()
	for name, c := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := studio.Prepare(ctx, c.Data, c.Extension, usual)
			var refused *Refused
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.Says) {
				t.Fatalf("got %v, want a reason with %q", err, c.Says)
			}
		})
	}
	if studio.room.Left() != raster.Memory {
		t.Errorf("%d bytes of the room are left, want %d", studio.room.Left(), raster.Memory)
	}
}

func TestADecoderEndsWithItsDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := NewStudio().Prepare(ctx, rastertest.PNG(t, 40, 30), "png", usual)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func FuzzPrepare(f *testing.F) {
	for _, c := range hostile(f) {
		if len(c.Data) < 20_000 {
			f.Add(c.Data, c.Extension)
		}
	}
	f.Add(rastertest.PNG(f, 9, 7), "png")
	f.Add(rastertest.JPEG(f, 9, 7), "jpeg")
	f.Add([]byte(svgHead+`<rect width="4" height="3" fill="red" opacity=".5"/></svg>`), "svg")
	studio := NewStudio()
	f.Fuzz(func(t *testing.T, data []byte, extension string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		made, err := studio.Prepare(ctx, data, extension, Options{LongestSide: 64, ThumbnailSide: 16})
		if err != nil {
			if made != nil {
				t.Fatal("an error and a picture")
			}
			return
		}
		for file, side := range map[*File]int{made.Picture: 64, made.Thumbnail: 16} {
			config, err := png.DecodeConfig(bytes.NewReader(file.Data()))
			if err != nil || config.Width != file.Width || config.Height != file.Height || max(file.Width, file.Height) > side {
				t.Fatalf("%d x %d, %v", file.Width, file.Height, err)
			}
		}
	})
}
