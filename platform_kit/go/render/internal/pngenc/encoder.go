// Package pngenc writes opaque pictures as PNG, fast.
//
// A picture is cut into bands of rows. Each band is filtered and compressed on its own, into deflate blocks that
// begin and end at whole bytes, so the compressed bands follow each other in the file as they are. What a band
// becomes depends on its pixels and the row above alone. Pictures of one design have many bands in common: their
// frames, and art that is on several cards. An [Encoder] remembers such bands by name and neither asks for their
// pixels nor compresses them again. The bytes are the same whether a band was remembered or not.
//
// The compression is made for what filters leave of pictures: Huffman codes for each block, and matches with the
// pixel before; where that would miss much, a search for matches farther back. Files of cards are some 1.2 to 1.4 times as large as those of image/png.
package pngenc

import (
	"bytes"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"math"
	"sync"

	"platform-kit/render/internal/cache"
	"platform-kit/render/internal/name"
)

const (
	bandRows  = 32        // the most rows of a band; fewer are remembered more often but compress a little less
	bandBytes = 192 << 10 // about the most filtered bytes of a band
	blockMax  = 128 << 10 // the most bytes of one deflate block
	keepMax   = 8 << 20   // larger buffers, of huge pictures, are not kept
)

// A Source has the pixels of a picture, or can draw them: four bytes each, red, green, blue and one, the alpha, that
// is left out.
type Source interface {
	// Name names the rows from y0 to before y1. Parts of the same width that have the same name have the same pixels,
	// whichever picture they are of. The zero name is that of rows that are not worth remembering.
	Name(y0, y1 int) name.Name
	// Draw returns those rows. They are not used any more when it is called again.
	Draw(y0, y1 int) ([]uint8, error)
}

// An Encoder writes pictures, several at once if need be.
type Encoder struct {
	bands *cache.Cache[bandKey, band]
	seen  cache.Seen // names of bands that were compressed
	pool  sync.Pool  // of *worker
}

// bandKey names a band: the name of its pixels and of the row above.
type bandKey struct {
	pixels      name.Name
	width, rows int
	top         bool // the first band, with no row above
}

// band is a compressed band.
type band struct {
	data []byte
	sum  uint32 // Adler-32 of what was compressed
}

// worker is the memory that one picture at a time needs.
type worker struct {
	deflater
	matcher
	rows []byte // a band, filtered
	file []byte
}

// New returns an encoder that remembers bands of budget bytes together, after compression.
func New(budget int) *Encoder {
	e := &Encoder{bands: cache.New[bandKey, band](budget)}
	e.pool.New = func() any { return &worker{} }
	return e
}

// pixels are a picture that is there already and will not come again.
type pixels struct {
	pix    []uint8
	stride int
}

func (p pixels) Name(int, int) name.Name { return name.Name{} }

func (p pixels) Draw(y0, y1 int) ([]uint8, error) { return p.pix[p.stride*y0 : p.stride*y1], nil }

// EncodePixels writes a picture as [Encoder.Encode] does, and remembers nothing of it.
func (e *Encoder) EncodePixels(pix []uint8, w, h int, dpi float64) []byte {
	data, _ := e.Encode(pixels{pix, 4 * w}, w, h, dpi) // only drawing can fail
	return data
}

// Encode writes a picture of w by h pixels as 8-bit RGB. An error is the source's.
func (e *Encoder) Encode(from Source, w, h int, dpi float64) ([]byte, error) {
	k := e.pool.Get().(*worker)
	out := start(k.file[:0], w, h, dpi)
	data := len(out)
	out = append(out, 0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x78, 0x01) // the length comes later; then zlib's header
	sum := uint32(1)
	rows := min(bandRows, max(1, bandBytes/(3*w)))
	for y := 0; y < h; y += rows {
		n := min(rows, h-y)
		var s uint32
		var err error
		if out, s, err = e.band(k, out, from, w, y, n); err != nil {
			return nil, err
		}
		sum = combine(sum, s, n*(1+3*w))
	}
	out = append(out, 0x03, 0x00) // the last block, an empty one
	out = binary.BigEndian.AppendUint32(out, sum)
	binary.BigEndian.PutUint32(out[data:], uint32(len(out)-data-8))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[data+4:]))
	out = chunk(out, "IEND", nil)
	picture := bytes.Clone(out)
	if k.file = out; cap(out) <= keepMax && cap(k.rows) <= keepMax {
		e.pool.Put(k)
	}
	return picture, nil
}

// Remembered is how many bytes the remembered bands have.
func (e *Encoder) Remembered() int { return e.bands.Weight() }

// band appends n rows from y on, compressed, and returns their checksum.
func (e *Encoder) band(k *worker, out []byte, source Source, w, y, n int) ([]byte, uint32, error) {
	top := max(0, y-1)
	key := bandKey{source.Name(top, y+n), w, n, y == 0}
	named := key.pixels != name.Name{}
	if named {
		if b, ok := e.bands.Get(key); ok {
			return append(out, b.data...), b.sum, nil
		}
	}
	pix, err := source.Draw(top, y+n)
	if err != nil {
		return nil, 0, err
	}
	from := len(out)
	out, sum := k.compress(out, pix, 4*w, y > top)
	// Most bands with text come once and never again. Only what comes a second time is worth the memory.
	if named && e.seen.Before(key.pixels.Halves()) {
		e.bands.Put(key, band{bytes.Clone(out[from:]), sum}, len(out)-from)
	}
	return out, sum, nil
}

// compress appends rows, compressed, and returns their checksum. If there is a row above, it is the first of pix.
func (k *worker) compress(out, pix []uint8, stride int, hasAbove bool) ([]byte, uint32) {
	k.rows = k.rows[:0]
	var above []uint8
	if hasAbove {
		above, pix = pix[:stride], pix[stride:]
	}
	for len(pix) > 0 {
		k.rows = filter(k.rows, pix[:stride], above)
		above, pix = pix[:stride], pix[stride:]
	}
	from := len(out)
	for rest := k.rows; len(rest) > 0; {
		size := min(len(rest), blockMax)
		out = k.block(out, rest[:size])
		rest = rest[size:]
	}
	if len(out)-from > len(k.rows)/4 && repeats(k.rows) { // what is small needs no search
		if other := k.blocks(k.rows); len(other) < len(out)-from {
			out = append(out[:from], other...)
		}
	}
	return out, adler32.Checksum(k.rows)
}

// start writes what comes before the pixels.
func start(out []byte, w, h int, dpi float64) []byte {
	out = append(out, "\x89PNG\r\n\x1a\n"...)
	var head [13]byte
	binary.BigEndian.PutUint32(head[0:], uint32(w))
	binary.BigEndian.PutUint32(head[4:], uint32(h))
	head[8], head[9] = 8, 2 // 8 bits, RGB
	out = chunk(out, "IHDR", head[:])
	out = chunk(out, "sRGB", []byte{0})
	var phys [9]byte
	perMetre := uint32(math.Round(dpi / 0.0254))
	binary.BigEndian.PutUint32(phys[0:], perMetre)
	binary.BigEndian.PutUint32(phys[4:], perMetre)
	phys[8] = 1 // per metre
	return chunk(out, "pHYs", phys[:])
}

func chunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(out, kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// combine returns the Adler-32 of two pieces after each other, from that of each and the length of the second.
func combine(first, second uint32, length int) uint32 {
	const mod = 65521
	n := uint64(length % mod)
	a1, b1 := uint64(first&0xffff), uint64(first>>16)
	a2, b2 := uint64(second&0xffff), uint64(second>>16)
	a := (a1 + a2 + mod - 1) % mod // both begin with 1
	b := (b1 + b2 + n*(a1+mod-1)) % mod
	return uint32(b<<16 | a)
}
