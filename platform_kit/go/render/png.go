package render

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"sync"

	"github.com/klauspost/compress/zlib"

	"platform-kit/render/internal/vg"
)

// encoder holds what is reused from one picture to the next.
type encoder struct {
	rows [5][]byte
	prev []byte
	cur  []byte
	data bytes.Buffer
	z    *zlib.Writer
}

var encoders = sync.Pool{New: func() any { return &encoder{} }}

// encodePNG writes an opaque picture as 8-bit RGB. The same pixels always give
// the same bytes.
func encodePNG(c *vg.Canvas, dpi float64) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.data.Reset()
	if e.z == nil {
		z, err := zlib.NewWriterLevel(&e.data, 1)
		if err != nil {
			return nil, err
		}
		e.z = z
	} else {
		e.z.Reset(&e.data)
	}
	n := 3 * c.W
	if len(e.cur) != n {
		e.cur, e.prev = make([]byte, n), make([]byte, n)
		for i := range e.rows {
			e.rows[i] = make([]byte, n+1)
			e.rows[i][0] = byte(i)
		}
	}
	clear(e.prev)
	for y := range c.H {
		src := c.Pix[4*y*c.W : 4*(y+1)*c.W]
		opaque(e.cur, src)
		if _, err := e.z.Write(e.filter()); err != nil {
			return nil, err
		}
		e.cur, e.prev = e.prev, e.cur
	}
	if err := e.z.Close(); err != nil {
		return nil, err
	}
	out := make([]byte, 0, e.data.Len()+200)
	out = append(out, "\x89PNG\r\n\x1a\n"...)
	var head [13]byte
	binary.BigEndian.PutUint32(head[0:], uint32(c.W))
	binary.BigEndian.PutUint32(head[4:], uint32(c.H))
	head[8], head[9] = 8, 2 // 8 bits, RGB
	out = chunk(out, "IHDR", head[:])
	var phys [9]byte
	perMetre := uint32(math.Round(dpi / 0.0254))
	binary.BigEndian.PutUint32(phys[0:], perMetre)
	binary.BigEndian.PutUint32(phys[4:], perMetre)
	phys[8] = 1 // per metre
	out = chunk(out, "sRGB", []byte{0})
	out = chunk(out, "pHYs", phys[:])
	out = chunk(out, "IDAT", e.data.Bytes())
	return chunk(out, "IEND", nil), nil
}

// opaque copies pixels without their alpha.
func opaque(dst, src []byte) {
	for len(dst) >= 12 { // four pixels
		a, b := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
		a = a&0xffffff | a>>8&0xffffff000000
		b = b&0xffffff | b>>8&0xffffff000000
		binary.LittleEndian.PutUint64(dst, a|b<<48)
		binary.LittleEndian.PutUint32(dst[8:], uint32(b>>16))
		dst, src = dst[12:], src[16:]
	}
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4 {
		dst[i], dst[i+1], dst[i+2] = src[j], src[j+1], src[j+2]
	}
}

// filter returns the current row with its filter byte: whichever of sub and up
// leaves the smaller differences, judged by a part of the row.
func (e *encoder) filter() []byte {
	cur, prev := e.cur, e.prev
	if bytes.Equal(cur, prev) {
		up := e.rows[2]
		clear(up[1:])
		return up
	}
	var ssub, sup uint64
	for i := 3; i+8 <= len(cur); i += 24 {
		c := binary.LittleEndian.Uint64(cur[i:])
		ssub += sum8(abs8(minus8(c, binary.LittleEndian.Uint64(cur[i-3:]))))
		sup += sum8(abs8(minus8(c, binary.LittleEndian.Uint64(prev[i:]))))
	}
	kind, i := 2, 0
	out, base := e.rows[2][1:], prev
	if ssub < sup {
		kind, out, base = 1, e.rows[1][1:], cur
		i = copy(out[:min(3, len(out))], cur)
		out, cur = out[i:], cur[i:]
	}
	base, out = base[:len(cur)], out[:len(cur)]
	for i = 0; i+8 <= len(cur); i += 8 {
		binary.LittleEndian.PutUint64(out[i:], minus8(binary.LittleEndian.Uint64(cur[i:]), binary.LittleEndian.Uint64(base[i:])))
	}
	for ; i < len(cur); i++ {
		out[i] = cur[i] - base[i]
	}
	return e.rows[kind]
}

// What follows works on eight bytes at once, each for itself.
const (
	high = 0x8080808080808080
	ones = 0x0101010101010101
)

// minus8 subtracts bytes.
func minus8(a, b uint64) uint64 { return ((a | high) - (b &^ high)) ^ ((a ^ ^b) & high) }

// abs8 is the size of bytes taken as signed: 255 - b + 1 for those above 127.
func abs8(v uint64) uint64 {
	negative := v >> 7 & ones
	return (v ^ negative*255) + negative
}

// sum8 adds bytes up.
func sum8(v uint64) uint64 {
	v = v&0x00ff00ff00ff00ff + v>>8&0x00ff00ff00ff00ff
	return v * 0x0001000100010001 >> 48
}

func chunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(out, kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}
