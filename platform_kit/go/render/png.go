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
		for i, j := 0, 0; j < len(src); i, j = i+3, j+4 {
			e.cur[i], e.cur[i+1], e.cur[i+2] = src[j], src[j+1], src[j+2]
		}
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

// filter returns the current row with its filter byte: whichever of none, sub
// and up leaves the smallest differences.
func (e *encoder) filter() []byte {
	cur, prev := e.cur, e.prev
	if bytes.Equal(cur, prev) {
		up := e.rows[2]
		clear(up[1:])
		return up
	}
	sub, up := e.rows[1][1:], e.rows[2][1:]
	sub, up = sub[:len(cur)], up[:len(cur)]
	prev = prev[:len(cur)]
	for i := 0; i < 3; i++ {
		sub[i] = cur[i]
		up[i] = cur[i] - prev[i]
	}
	var ssub, sup int
	for i := 3; i < len(cur); i++ {
		a := cur[i] - cur[i-3]
		b := cur[i] - prev[i]
		sub[i], up[i] = a, b
		ssub += int(abs8(a))
		sup += int(abs8(b))
	}
	if ssub < sup {
		return e.rows[1]
	}
	return e.rows[2]
}

// abs8 is the size of a difference, taken as a signed byte.
func abs8(v byte) byte {
	m := byte(int8(v) >> 7)
	return (v ^ m) - m
}

func chunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(out, kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}
