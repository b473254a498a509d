// Package rastertest makes pictures good and hostile for the tests of what reads pictures.
package rastertest

import (
	"bytes"
	"compress/zlib"
	"embed"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"
)

// PNG returns a PNG of w by h pixels, each of another colour.
func PNG(t testing.TB, w, h int) []byte {
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

// JPEG returns a grey one of w by h pixels.
func JPEG(t testing.TB, w, h int) []byte {
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

// Chunk returns a chunk of a PNG.
func Chunk(kind string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, kind...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// Bomb returns a PNG of w by h pixels with this colour type and depth, whose pixels are a few bytes.
func Bomb(w, h uint32, depth, colour byte, before ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, w)
	head = binary.BigEndian.AppendUint32(head, h)
	head = append(head, depth, colour, 0, 0, 0)
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	out := append([]byte("\x89PNG\r\n\x1a\n"), Chunk("IHDR", head)...)
	for _, chunk := range before {
		out = append(out, chunk...)
	}
	return append(append(out, Chunk("IDAT", pixels.Bytes())...), Chunk("IEND", nil)...)
}

// VP8L returns the head of a lossless WebP's picture.
func VP8L(w, h int) []byte {
	bits := uint32(w-1) | uint32(h-1)<<14
	return binary.LittleEndian.AppendUint32([]byte{0x2f}, bits)
}

// RIFF returns a WebP of chunks.
func RIFF(chunks ...[]byte) []byte {
	body := []byte("WEBP")
	for _, chunk := range chunks {
		body = append(body, chunk...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// RIFFChunk returns a chunk of a WebP.
func RIFFChunk(kind string, body []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body))), body...)
	if len(body)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

// VP8X returns the chunk that says how large a WebP's canvas is.
func VP8X(flags byte, w, h int) []byte {
	return RIFFChunk("VP8X", []byte{flags, 0, 0, 0, byte(w - 1), byte((w - 1) >> 8), byte((w - 1) >> 16),
		byte(h - 1), byte((h - 1) >> 8), byte((h - 1) >> 16)})
}

//go:embed testdata/*.webp
var samples embed.FS

// WebP returns one of the samples: lossy, lossless, alpha or lossy-alpha. All show [Quarters].
func WebP(name string) []byte {
	data, err := samples.ReadFile("testdata/" + name + ".webp")
	if err != nil {
		panic(err)
	}
	return data
}

// Quarters returns 48 by 32 pixels of red, green, blue and yellow. With alpha, the blue is half clear, the yellow wholly.
func Quarters(alpha bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 48, 32))
	colours := []color.NRGBA{{200, 40, 40, 255}, {40, 160, 60, 255}, {40, 60, 190, 255}, {230, 220, 120, 255}}
	if alpha {
		colours[2].A, colours[3].A = 128, 0
	}
	for y := range 32 {
		for x := range 48 {
			img.SetNRGBA(x, y, colours[y/16*2+x/24])
		}
	}
	return img
}

// shortened is a WebP whose only chunk has n bytes, and says so.
func shortened(data []byte, n int) []byte { return RIFF(RIFFChunk(string(data[12:16]), data[20:20+n])) }

// Oriented returns the picture of a JPEG, a PNG or a lossless WebP without alpha with this EXIF orientation.
func Oriented(data []byte, orientation uint16, order binary.AppendByteOrder) []byte {
	exif := EXIF(orientation, order)
	switch string(data[:3]) {
	case "\xff\xd8\xff":
		return slices.Concat(data[:2], exif, data[2:])
	case "\x89PN":
		return slices.Concat(data[:33], Chunk("eXIf", exif[10:]), data[33:])
	}
	bits := binary.LittleEndian.Uint32(data[21:])
	return RIFF(VP8X(8, 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff)), data[12:], RIFFChunk("EXIF", exif[10:]))
}

// EXIF returns a JPEG's APP1 segment with this orientation.
func EXIF(orientation uint16, order binary.AppendByteOrder) []byte {
	mark := "II*\x00"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		mark = "MM\x00*"
	}
	body := order.AppendUint32([]byte("Exif\x00\x00"+mark), 8)
	body = order.AppendUint16(body, 1)
	body = order.AppendUint16(body, 0x0112)
	body = order.AppendUint16(body, 3)
	body = order.AppendUint32(body, 1)
	body = order.AppendUint16(body, orientation)
	body = append(body, 0, 0, 0, 0, 0, 0)
	return append([]byte{0xff, 0xe1, 0, byte(len(body) + 2)}, body...)
}

// Hostile is a file that must be refused.
type Hostile = struct {
	Data      []byte
	Extension string
	Says      string // a word of the reason
}

// AllHostile returns such files by name.
func AllHostile(t testing.TB) map[string]Hostile {
	t.Helper()
	good, shot := PNG(t, 40, 30), JPEG(t, 64, 48)
	wide := bytes.Clone(shot)
	at := bytes.Index(wide, []byte{0xff, 0xc0})
	copy(wide[at+5:], []byte{0xea, 0x60, 0xea, 0x60}) // 60,000 x 60,000
	scans := bytes.Clone(shot[:len(shot)-2])
	sos := shot[bytes.Index(shot, []byte{0xff, 0xda}):][:10]
	for range 500 {
		scans = append(scans, sos...)
	}
	return map[string]Hostile{
		"nothing":             {nil, "png", "empty"},
		"noise":               {[]byte("hello"), "png", "neither"},
		"cut PNG":             {good[:len(good)/2], "png", "not a whole PNG"},
		"cut PNG header":      {good[:20], "png", "ends within its header"},
		"PNG without end":     {append(bytes.Clone(good[:8]), Chunk("IHDR", make([]byte, 13))...), "png", "header"},
		"damaged PNG":         {bytes.Replace(good, []byte("IDAT"), []byte("IDAT\x00"), 1), "png", "PNG"},
		"huge PNG":            {Bomb(50_000, 50_000, 8, 2), "png", "50000 x 50000 pixels"},
		"larger PNG":          {Bomb(1<<31-1, 1<<31-1, 8, 2), "png", "pixels"},
		"PNG of 16 bits":      {Bomb(6000, 6000, 16, 6), "png", "MB to decode"},
		"animated PNG":        {Bomb(4, 4, 8, 2, Chunk("acTL", make([]byte, 8))), "png", "animated"},
		"cut JPEG":            {shot[:len(shot)/2], "jpg", "not a whole JPEG"},
		"cut JPEG header":     {shot[:30], "jpg", "not a whole JPEG"},
		"huge JPEG":           {wide, "jpg", "60000 x 60000 pixels"},
		"JPEG of many scans":  {scans, "jpg", "scans"},
		"cut WebP":            {RIFF(RIFFChunk("VP8L", VP8L(4, 4)))[:18], "webp", "too early"},
		"empty WebP":          {RIFF(), "webp", "without a picture"},
		"animated WebP":       {RIFF(VP8X(2, 4, 4), RIFFChunk("ANIM", make([]byte, 6))), "webp", "animated"},
		"huge WebP":           {RIFF(RIFFChunk("VP8L", VP8L(16384, 16384))), "webp", "16384 x 16384 pixels"},
		"WebP of huge canvas": {RIFF(VP8X(0, 1<<24, 1<<24)), "webp", "without a picture"},
		"WebP of two sizes":   {RIFF(VP8X(0, 4, 4), RIFFChunk("VP8L", VP8L(9000, 9000))), "webp", "holds a picture of"},
		"long PNG":            {Bomb(10_000_000, 1, 8, 2), "png", "65535 a side"},
		"cut EXIF":            {slices.Concat(shot[:2], EXIF(6, binary.BigEndian)[:20]), "jpg", "ends within its header"},
		"EXIF of great length": {slices.Concat(shot[:2], []byte{0xff, 0xe1, 0xff, 0xff}, EXIF(6, binary.BigEndian)[4:], shot[2:]),
			"jpg", "not a whole JPEG"},
		"PNG with EXIF of great length": {slices.Concat(good[:33], []byte{0xff, 0xff, 0xff, 0xf0}, []byte("eXIf"), good[33:]),
			"png", "ends within its header"},
		"WebP with EXIF of great length": {RIFF(VP8X(8, 48, 32), []byte("EXIF\xf0\xff\xff\xff")), "webp", "too early"},
		"WebP of great length":           {append(binary.LittleEndian.AppendUint32([]byte("RIFF"), 1<<32-1), WebP("lossless")[8:]...), "webp", "too early"},
		"cut lossy WebP":                 {shortened(WebP("lossy"), 60), "webp", "not a whole WebP"},
		"cut lossless WebP":              {shortened(WebP("lossless"), 36), "webp", "not a whole WebP"},
		"WebP with a cut header":         {RIFF(RIFFChunk("VP8X", make([]byte, 3))), "webp", "header has 3 bytes"},
		"GIF":                            {[]byte("GIF89a"), "gif", "the content is GIF"},
	}
}
