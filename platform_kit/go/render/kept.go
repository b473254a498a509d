package render

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"platform-kit/raster"
	"platform-kit/render/internal/cache"
	"platform-kit/render/internal/name"
	"platform-kit/render/internal/pngenc"
	"platform-kit/render/internal/vg"
)

// Memory that is kept from card to card, in bytes, for all templates of the process together: 116 MB at most. A budget
// that is too small costs time and nothing else.
const (
	sheetsLimit   = 40 << 20 // the looks of classic take 32 MB
	picturesLimit = 20 << 20 // some 100 illustrations of classic; see packed
	bandsLimit    = 32 << 20 // the parts of some 180 files that are on several cards; see pngenc
	shapesLimit   = 4 << 20
	piecesLimit   = 8 << 20 // what some hundreds of costs and short texts became
	masksLimit    = 6 << 20 // the glyphs of a deck in one language take 1 to 2 MB
	runsLimit     = 4 << 20
	outlinesLimit = 2 << 20
)

// kept is what templates keep. Every key says all that its value depends on, so a value is never out of date:
// what a template, a font or a picture is does not change, another one has another key.
type kept struct {
	sheets   *cache.Cache[sheetKey, *vg.Sprite] // rows of layers that are the same on many cards
	pictures *cache.Cache[pictureKey, *packed]  // art and images, decoded, at the size they are drawn
	shapes   *cache.Cache[*layer, *shapeMasks]  // coverage of a layer's shape
	pieces   *cache.Cache[name.Name, *piece]    // layers, by all that decides them
	runs     *cache.Cache[runKey, *shapedRun]   // words, shaped
	outlines *cache.Cache[outlineKey, *vg.Path] // glyphs
	masks    *cache.Cache[maskKey, *vg.Mask]    // coverage of glyphs at a size
	seen     cache.Seen                         // names of pieces that came once
	png      *pngenc.Encoder                    // compressed parts of files
	room     *raster.Room                       // memory for pictures being decoded
	spare    [33]sync.Pool                      // of *vg.Canvas, to be drawn on again, by the bits of their size
}

func newKept() *kept {
	return &kept{
		sheets:   cache.New[sheetKey, *vg.Sprite](sheetsLimit),
		pictures: cache.New[pictureKey, *packed](picturesLimit),
		shapes:   cache.New[*layer, *shapeMasks](shapesLimit),
		pieces:   cache.New[name.Name, *piece](piecesLimit),
		runs:     cache.New[runKey, *shapedRun](runsLimit),
		outlines: cache.New[outlineKey, *vg.Path](outlinesLimit),
		masks:    cache.New[maskKey, *vg.Mask](masksLimit),
		png:      pngenc.New(bandsLimit),
		room:     raster.NewRoom(raster.Memory),
	}
}

// shared is what the templates of this process keep.
var shared = newKept()

// templateID tells the templates of a process apart in keys. A pointer would do, but would also keep a template
// that is no longer used, with its fonts.
type templateID uint64

var lastTemplate atomic.Uint64

func newTemplateID() templateID { return templateID(lastTemplate.Add(1)) }

// canvas returns a canvas with anything on it. It may be given back with release.
func (k *kept) canvas(w, h int) *vg.Canvas {
	if c, ok := k.spare[bits.Len32(uint32(4*w*h))].Get().(*vg.Canvas); ok && cap(c.Pix) >= 4*w*h {
		c.W, c.H, c.Pix, c.Top = w, h, c.Pix[:4*w*h], 0
		return c
	}
	return vg.NewCanvas(w, h)
}

// blank returns a transparent canvas.
func (k *kept) blank(w, h int) *vg.Canvas {
	c := k.canvas(w, h)
	clear(c.Pix)
	return c
}

// release takes back a canvas that nobody uses any more.
func (k *kept) release(c *vg.Canvas) {
	if n := cap(c.Pix); n <= spareMax {
		k.spare[bits.Len32(uint32(n))].Put(c)
	}
}

// spareMax is the largest canvas that is kept to be drawn on again.
const spareMax = 16 << 20
