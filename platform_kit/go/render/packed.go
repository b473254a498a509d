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
// more; and a deck's pictures all fit into a budget that would hold a few of them as they are.
type packed struct {
	w, h   int
	opaque bool
	data   []byte
}

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

// pack makes a canvas small. Two pixels at once are written as eight bytes, of which six may count.
func pack(c *vg.Canvas) *packed {
	p := &packed{w: c.W, h: c.H, opaque: c.Opaque()}
	size, stride := p.pixelBytes(), 4*c.W
	room := packRoom(size*c.W*c.H + 8)
	defer packRooms.Put(room)
	to := (*room)[:0]
	first := make([]uint8, stride) // what is above the first row
	above := first
	for y := range c.H {
		row := c.Pix[stride*y : stride*(y+1)]
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
	p.data = bytes.Clone(s2.Encode(*small, to))
	return p
}

// pixelBytes is how many bytes of a pixel are kept.
func (p *packed) pixelBytes() int {
	if p.opaque {
		return 3
	}
	return 4
}

// size is about how much memory it takes.
func (p *packed) size() int { return len(p.data) + 100 }

// unpack draws the picture on a canvas of its size.
func (p *packed) unpack(c *vg.Canvas) error {
	size, stride := p.pixelBytes(), 4*p.w
	n := size * p.w * p.h
	room := packRoom(n + 8)
	defer packRooms.Put(room)
	if _, err := s2.Decode((*room)[:n], p.data); err != nil {
		return err
	}
	from := *room
	above := make([]uint8, stride)
	if p.opaque { // no difference is kept for alpha: it comes from above
		for i := 3; i < stride; i += 4 {
			above[i] = 255
		}
	}
	for y := range p.h {
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
