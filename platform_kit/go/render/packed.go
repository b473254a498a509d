package render

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/s2"

	"platform-kit/render/internal/lanes"
	"platform-kit/render/internal/vg"
)

// packed is a drawn picture made small, to a fifth or so for an illustration: what it differs from the row above,
// without alpha if all of it is opaque, in S2. Unpacking takes a millisecond, decoding or drawing it again ten and
// more; and a deck's pictures all fit into a budget that would hold a few of them as they are. Every so many rows it
// begins anew, so that a part can be unpacked alone.
type packed struct {
	w, h   int
	opaque bool
	strips [][]byte
}

// packedRows is how many rows of a packed picture can only be unpacked together.
const packedRows = 32

// packRooms is memory for differences: of *[]byte.
var packRooms = sync.Pool{New: func() any { return new([]byte) }}

func packRoom(n int) *[]byte {
	room := packRooms.Get().(*[]byte)
	if cap(*room) < n {
		*room = make([]byte, n)
	}
	*room = (*room)[:n]
	return room
}

// pack makes a canvas small.
func pack(c *vg.Canvas) *packed {
	p := &packed{w: c.W, h: c.H, opaque: c.Opaque()}
	for y := 0; y < c.H; y += packedRows {
		p.strips = append(p.strips, p.packStrip(c.Pix[4*c.W*y:4*c.W*min(y+packedRows, c.H)]))
	}
	return p
}

// packStrip makes rows small. Two pixels at once are written as eight bytes, of which six may count.
func (p *packed) packStrip(pix []uint8) []byte {
	size, stride := p.pixelBytes(), 4*p.w
	room := packRoom(size*len(pix)/4 + 8)
	defer packRooms.Put(room)
	to := (*room)[:0]
	above := make([]uint8, stride) // what is above the first row
	for ; len(pix) > 0; pix = pix[stride:] {
		row := pix[:stride]
		i := 0
		for ; i+8 <= stride; i += 8 {
			v := lanes.Sub(binary.LittleEndian.Uint64(row[i:]), binary.LittleEndian.Uint64(above[i:]))
			if p.opaque {
				v = lanes.RGB(v)
			}
			to = to[:len(to)+8]
			binary.LittleEndian.PutUint64(to[len(to)-8:], v)
			to = to[:len(to)-8+2*size]
		}
		for ; i < stride; i += 4 { // one pixel is left
			for k := range size {
				to = append(to, row[i+k]-above[i+k])
			}
		}
		above = row
	}
	small := packRoom(s2.MaxEncodedLen(len(to)))
	defer packRooms.Put(small)
	return bytes.Clone(s2.Encode(*small, to))
}

// pixelBytes is how many bytes of a pixel are kept.
func (p *packed) pixelBytes() int {
	if p.opaque {
		return 3
	}
	return 4
}

// size is about how much memory it takes.
func (p *packed) size() int {
	n := 100
	for _, s := range p.strips {
		n += len(s) + 24
	}
	return n
}

// unpack draws a strip of the picture on a canvas of its size.
func (p *packed) unpack(strip int, c *vg.Canvas) error {
	size, stride := p.pixelBytes(), 4*p.w
	first, end := strip*packedRows, min((strip+1)*packedRows, p.h)
	n := size * p.w * (end - first)
	room := packRoom(n + 8)
	defer packRooms.Put(room)
	if _, err := s2.Decode((*room)[:n], p.strips[strip]); err != nil {
		return err
	}
	from := *room
	above := make([]uint8, stride)
	if p.opaque { // no difference is kept for alpha: it comes from above
		for i := 3; i < stride; i += 4 {
			above[i] = 255
		}
	}
	for y := first; y < end; y++ {
		row := c.Pix[stride*y : stride*(y+1)]
		i := 0
		for ; i+8 <= len(row); i += 8 {
			v := binary.LittleEndian.Uint64(from)
			if p.opaque {
				v = lanes.RGBA(v)
			}
			binary.LittleEndian.PutUint64(row[i:], lanes.Add(v, binary.LittleEndian.Uint64(above[i:])))
			from = from[2*size:]
		}
		for ; i < len(row); i += 4 {
			row[i+3] = above[i+3]
			for k := range size {
				row[i+k] = from[k] + above[i+k]
			}
			from = from[size:]
		}
		above = row
	}
	return nil
}

// picture is a picture of which only some rows may be there yet.
type picture struct {
	*vg.Canvas
	from   *packed // nil if all is there
	opened []bool  // which strips are there
}

// open unpacks nothing yet.
func (p *packed) open(c *vg.Canvas) *picture {
	return &picture{Canvas: c, from: p, opened: make([]bool, len(p.strips))}
}

// need sees to it that the rows from y0 to before y1 are there, those of them that the picture has.
func (p *picture) need(y0, y1 int) error {
	if p.from == nil {
		return nil
	}
	for y0, y1 = max(y0, 0), min(y1, p.H); y0 < y1; y0 = (y0/packedRows + 1) * packedRows {
		if strip := y0 / packedRows; !p.opened[strip] {
			if err := p.from.unpack(strip, p.Canvas); err != nil {
				return err
			}
			p.opened[strip] = true
		}
	}
	return nil
}
