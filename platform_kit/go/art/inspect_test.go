package art

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strconv"
	"strings"
	"testing"
	"time"
)

// picture returns a PNG of w by h pixels, each of another colour.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, color.NRGBA{uint8(255 * x / w), uint8(255 * y / h), 80, uint8(255 - 100*x/w)})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func photo(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 7)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func chunked(kind string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, kind...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// bomb returns a PNG of w by h pixels with this colour type and depth, whose pixels are a few bytes.
func bomb(w, h uint32, depth, colour byte, before ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, w)
	head = binary.BigEndian.AppendUint32(head, h)
	head = append(head, depth, colour, 0, 0, 0)
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	out := append([]byte("\x89PNG\r\n\x1a\n"), chunked("IHDR", head)...)
	for _, chunk := range before {
		out = append(out, chunk...)
	}
	return append(append(out, chunked("IDAT", pixels.Bytes())...), chunked("IEND", nil)...)
}

func vp8l(w, h int) []byte {
	bits := uint32(w-1) | uint32(h-1)<<14
	return binary.LittleEndian.AppendUint32([]byte{0x2f}, bits)
}

func riff(chunks ...[]byte) []byte {
	body := []byte("WEBP")
	for _, chunk := range chunks {
		body = append(body, chunk...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func riffChunk(kind string, body []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body))), body...)
	if len(body)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 4 3">`

// hostile is what must be refused, with a word of the reason.
func hostile(t testing.TB) map[string]struct {
	data      []byte
	extension string
	says      string
} {
	good, shot := picture(t, 40, 30), photo(t, 64, 48)
	vp8x := func(flags byte, w, h int) []byte {
		return riffChunk("VP8X", []byte{flags, 0, 0, 0, byte(w - 1), byte((w - 1) >> 8), byte((w - 1) >> 16),
			byte(h - 1), byte((h - 1) >> 8), byte((h - 1) >> 16)})
	}
	wide := bytes.Clone(shot)
	at := bytes.Index(wide, []byte{0xff, 0xc0})
	copy(wide[at+5:], []byte{0xea, 0x60, 0xea, 0x60}) // 60,000 x 60,000
	scans := bytes.Clone(shot[:len(shot)-2])
	sos := shot[bytes.Index(shot, []byte{0xff, 0xda}):][:10]
	for range 500 {
		scans = append(scans, sos...)
	}
	return map[string]struct {
		data      []byte
		extension string
		says      string
	}{
		"nothing":             {nil, "png", "empty"},
		"noise":               {[]byte("hello"), "png", "neither"},
		"cut PNG":             {good[:len(good)/2], "png", "not a whole PNG"},
		"cut PNG header":      {good[:20], "png", "ends within its header"},
		"PNG without end":     {append(bytes.Clone(good[:8]), chunked("IHDR", make([]byte, 13))...), "png", "header"},
		"damaged PNG":         {bytes.Replace(good, []byte("IDAT"), []byte("IDAT\x00"), 1), "png", "PNG"},
		"huge PNG":            {bomb(50_000, 50_000, 8, 2), "png", "50000 x 50000 pixels"},
		"larger PNG":          {bomb(1<<31-1, 1<<31-1, 8, 2), "png", "pixels"},
		"PNG of 16 bits":      {bomb(6000, 6000, 16, 6), "png", "MB to decode"},
		"animated PNG":        {bomb(4, 4, 8, 2, chunked("acTL", make([]byte, 8))), "png", "animated"},
		"cut JPEG":            {shot[:len(shot)/2], "jpg", "not a whole JPEG"},
		"cut JPEG header":     {shot[:30], "jpg", "not a whole JPEG"},
		"huge JPEG":           {wide, "jpg", "60000 x 60000 pixels"},
		"JPEG of many scans":  {scans, "jpg", "scans"},
		"JPEG called PNG":     {shot, "png", "its content is JPEG; name it .jpg"},
		"PNG called SVG":      {good, "svg", "its content is PNG"},
		"SVG called PNG":      {[]byte(svgHead + "</svg>"), "png", "its content is SVG"},
		"cut WebP":            {riff(riffChunk("VP8L", vp8l(4, 4)))[:18], "webp", "too early"},
		"empty WebP":          {riff(), "webp", "without a picture"},
		"animated WebP":       {riff(vp8x(2, 4, 4), riffChunk("ANIM", make([]byte, 6))), "webp", "animated"},
		"huge WebP":           {riff(riffChunk("VP8L", vp8l(16384, 16384))), "webp", "16384 x 16384 pixels"},
		"WebP of huge canvas": {riff(vp8x(0, 1<<24, 1<<24)), "webp", "without a picture"},
		"WebP of two sizes":   {riff(vp8x(0, 4, 4), riffChunk("VP8L", vp8l(9000, 9000))), "webp", "holds a picture of"},
		"GIF":                 {[]byte("GIF89a"), "gif", "the content is GIF"},
		"svgz":                {[]byte("\x1f\x8b\x08\x00more"), "svg", "gzip"},
		"HTML":                {[]byte("<!doctype html><html><body>"), "svg", "HTML"},
		"UTF-16":              {[]byte("\xff\xfe<\x00s\x00"), "svg", "UTF-16"},
		"a cut SVG":           {[]byte(svgHead + "<g>"), "svg", "well-formed"},
		"no SVG":              {[]byte("<note/>"), "svg", "no <svg>"},
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
			_, err := studio.Prepare(ctx, c.data, c.extension, usual)
			var refused *Refused
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.says) {
				t.Fatalf("got %v, want a reason with %q", err, c.says)
			}
		})
	}
	if studio.room.left != memory {
		t.Errorf("%d bytes of the room are left, want %d", studio.room.left, memory)
	}
}

func TestADecoderEndsWithItsDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := NewStudio().Prepare(ctx, picture(t, 40, 30), "png", usual)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func FuzzPrepare(f *testing.F) {
	for _, c := range hostile(f) {
		if len(c.data) < 20_000 {
			f.Add(c.data, c.extension)
		}
	}
	f.Add(picture(f, 9, 7), "png")
	f.Add(photo(f, 9, 7), "jpeg")
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
