package render

import (
	"time"

	"platform-kit/render/internal/name"
	"platform-kit/render/internal/vg"
)

// element is one of the things that a card is made of, one on top of the other. Cards are drawn strip by strip, and only
// the strips that no earlier card had: what it looks like therefore has a name, and drawing it can wait.
type element interface {
	// sign writes what the rows from y0 to before y1 show of it, or nothing where they show nothing. The same
	// writing over the same pixels gives the same pixels.
	sign(key *name.Builder, y0, y1 int)
	// draw draws those rows of it that the canvas has.
	draw(d *drawing, c *vg.Canvas) error
}

// sheet is an element that was drawn before, for another card.
type sheet struct{ *vg.Sprite }

func (s sheet) sign(key *name.Builder, y0, y1 int) {
	rows, shows := s.Names(y0, y1)
	if !shows {
		return
	}
	key.Byte('s')
	for _, n := range rows {
		key.Name(n)
	}
}

func (s sheet) draw(_ *drawing, c *vg.Canvas) error {
	c.Stamp(s.Sprite)
	return nil
}

// dab is a shape, a glyph or an image at its place.
type dab struct {
	mask    *vg.Mask
	dx, dy  int
	paint   vg.Paint
	opacity float64
	image   *imageDab // instead of mask and paint
}

type imageDab struct {
	asset *asset
	w, h  int
	fit   string
	ink   vg.Color
}

// piece is what a layer became on a card. It may be kept for other cards, so it refers to nothing of this one.
type piece struct {
	name     name.Name
	y0, y1   int // the rows with dabs
	dabs     []dab
	later    bool // there are dabs that were not kept
	room     vg.Rect
	warnings []string
	missing  []rune
}

// pieceMax is the most memory of a piece's dabs that are kept. Those of a long text are sooner set again.
const pieceMax = 64 << 10

// size is about how much memory the dabs take, each with its mask, which may be nobody else's by now.
func (p *piece) size() int {
	n := 0
	for i := range p.dabs {
		n += 80
		if m := p.dabs[i].mask; m != nil {
			n += len(m.Pix)
			if _, flat := p.dabs[i].paint.(vg.Solid); !flat {
				n += 2200 // a gradient's table
			}
		}
	}
	return n
}

// add records a dab on the canvas of a card.
func (p *piece) add(m dab, y0, y1, height int) {
	if y0, y1 = max(y0, 0), min(y1, height); y0 >= y1 {
		return
	}
	if len(p.dabs) == 0 {
		p.y0, p.y1 = y0, y1
	}
	p.y0, p.y1 = min(p.y0, y0), max(p.y1, y1)
	p.dabs = append(p.dabs, m)
}

// shown is a piece on a card.
type shown struct {
	*piece
	opacity float64
	again   func() error // leaves the dabs
	all     []dab        // also those that were not kept
}

func (m *shown) sign(key *name.Builder, y0, y1 int) {
	if y0 < m.y1 && m.y0 < y1 {
		key.Byte('m')
		key.Name(m.name)
		key.Int(y0)
	}
}

func (m *shown) draw(d *drawing, c *vg.Canvas) error {
	if c.Top >= m.y1 || m.y0 >= c.Top+c.H {
		return nil
	}
	if m.all == nil {
		p, err := d.record(m.name, m.opacity, m.again)
		if err != nil {
			return err
		}
		m.all = p.dabs
	}
	for i := range m.all {
		k := &m.all[i]
		if k.image == nil {
			c.PaintAt(k.mask, k.dx, k.dy, k.paint, nil, k.opacity)
			continue
		}
		pic, err := d.image(k.image)
		if err != nil {
			return err
		}
		if err := pic.need(c.Top-k.dy, c.Top-k.dy+c.H); err != nil {
			return err
		}
		c.Draw(pic.Canvas, k.dx, k.dy, nil, k.opacity)
	}
	return nil
}

// record has a layer leave its dabs in a new piece.
func (d *drawing) record(n name.Name, opacity float64, layer func() error) (*piece, error) {
	outer, before := d.piece, d.opacity
	d.piece, d.opacity = &piece{name: n}, opacity
	err := layer()
	p := d.piece
	d.piece, d.opacity = outer, before
	return p, err
}

// show puts what a layer leaves on the card. Where a kept piece has that name, layer is not called, or only when rows
// of a long text are drawn.
func (d *drawing) show(l *layer, n name.Name, keep bool, layer func() error) error {
	var all []dab
	p, ok := d.tpl.kept.pieces.Get(n)
	if !ok {
		var err error
		if p, err = d.record(n, d.opacity, layer); err != nil {
			return err
		}
		all = p.dabs
		if keep && d.tpl.kept.seen.Before(n.Halves()) { // most words come once and never again
			d.keep(p)
		}
	} else if !p.later {
		all = p.dabs
	}
	for _, w := range p.warnings {
		d.warnOnce(w)
	}
	d.warnMissing(p.missing)
	if p.room.W > 0 {
		d.named[l.Name] = p.room
	}
	if p.y0 < p.y1 {
		d.elements = append(d.elements, &shown{p, d.opacity, layer, all})
	}
	return nil
}

func (d *drawing) keep(p *piece) {
	size := p.size()
	if size > pieceMax {
		light := *p
		light.dabs, light.later = nil, true
		p, size = &light, 0
	}
	for _, w := range p.warnings {
		size += len(w) + 16
	}
	d.tpl.kept.pieces.Put(p.name, p, size+4*len(p.missing)+150)
}

// sign begins the name of what a layer shows with all that is the same for every kind of layer.
func (d *drawing) sign(l *layer, box vg.Rect) *name.Builder {
	key := &d.key
	*key = (*key)[:0]
	key.Int(int(d.tpl.id))
	key.Int(l.index)
	for _, v := range []float64{box.X, box.Y, box.W, box.H, d.opacity} {
		key.Float(v)
	}
	key.Text(d.lang)
	for _, k := range d.look.keys {
		key.Text(k)
	}
	return key
}

// paint leaves paint through a mask.
func (d *drawing) paint(m *vg.Mask, dx, dy int, paint vg.Paint, opacity float64) {
	if m != nil && m.W > 0 {
		d.piece.add(dab{mask: m, dx: dx, dy: dy, paint: paint, opacity: opacity}, m.Y+dy, m.Y+dy+m.H, d.tpl.bundle.Height)
	}
}

// fill paints the inside of a path.
func (d *drawing) fill(p *vg.Path, m vg.Matrix, paint vg.Paint, opacity float64) {
	d.paint(vg.FillMask(p, m, vg.NonZero, d.tpl.bundle.Width, d.tpl.bundle.Height), 0, 0, paint, opacity)
}

// place leaves one of the template's images.
func (d *drawing) place(m imageDab, x, y int) {
	d.piece.add(dab{image: &m, dx: x, dy: y, opacity: d.opacity}, y, y+m.h, d.tpl.bundle.Height)
}

// image returns one of the template's images, drawn once for the whole card.
func (d *drawing) image(m *imageDab) (*picture, error) {
	if pic, ok := d.images[*m]; ok {
		return pic, nil
	}
	pic, err := d.tpl.assetImage(d.ctx, m.asset, m.w, m.h, m.fit, m.ink)
	if err != nil {
		return nil, err
	}
	if d.images == nil {
		d.images = map[imageDab]*picture{}
	}
	d.images[*m] = pic
	return pic, nil
}

// Name names rows of the card: see [pngenc.Source].
func (d *drawing) Name(y0, y1 int) name.Name {
	d.key = d.key[:0]
	for _, p := range d.elements {
		p.sign(&d.key, y0, y1)
	}
	d.key.Byte('.') // also what shows nothing has a name
	return d.key.Done()
}

// Draw draws rows of the card: see [pngenc.Source].
func (d *drawing) Draw(y0, y1 int) ([]uint8, error) {
	started := time.Now()
	defer func() { d.took += time.Since(started) }()
	if d.canvas == nil || d.canvas.H < y1-y0 {
		if d.canvas != nil {
			d.tpl.kept.release(d.canvas)
		}
		d.canvas = d.tpl.kept.canvas(d.tpl.bundle.Width, y1-y0)
	}
	c := *d.canvas
	c.Top, c.H = y0, y1-y0
	c.Pix = c.Pix[:4*c.W*c.H]
	if !d.covered() {
		clear(c.Pix)
	}
	return c.Pix, d.drawOn(&c)
}

// covered tells whether the lowest element hides whatever was on a canvas.
func (d *drawing) covered() bool {
	if len(d.elements) == 0 {
		return false
	}
	s, ok := d.elements[0].(sheet)
	return ok && s.Covers()
}

// drawOn draws the elements on a canvas.
func (d *drawing) drawOn(c *vg.Canvas) error {
	for _, p := range d.elements {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if err := p.draw(d, c); err != nil {
			return err
		}
	}
	return nil
}

// close gives back what the card was drawn with.
func (d *drawing) close() {
	if d.canvas != nil {
		d.tpl.kept.release(d.canvas)
	}
	for _, pic := range d.images {
		d.tpl.kept.release(pic.Canvas)
	}
	for _, p := range d.elements {
		if a, ok := p.(*artwork); ok && a.pic != nil {
			d.tpl.kept.release(a.pic.Canvas)
		}
	}
}
