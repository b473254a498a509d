package render

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-text/typesetting/font"

	"platform-kit/render/internal/vg"
)

// maskKey names a glyph at a size and a position between pixels.
type maskKey struct {
	template templateID
	face     int
	gid      font.GID
	size     int // in 1/64 pixels
	sub      uint8
	outline  int // width in 1/64 pixels
	fake     bool
	missing  bool
}

// subpixels is how many positions between two pixels are told apart.
const subpixels = 4

// fakeBold is how much thicker, in sizes, a face becomes that stands in for a bolder one.
const fakeBold = 0.035

// maskPad is the room around a glyph's origin in its mask, in sizes.
const maskPad = 2

// glyphMask returns a glyph's coverage with the origin at the mask's (0, 0).
func (ts *typesetter) glyphMask(g *glyph, size float64, sub uint8, outline float64) (*vg.Mask, error) {
	size *= g.scale
	key := maskKey{template: ts.template, gid: g.gid, size: int(math.Round(size * 64)), sub: sub,
		outline: int(math.Round(outline * 64)), fake: g.fake, missing: g.missing}
	if !g.missing {
		key.face = g.face.index
	}
	if m, ok := ts.kept.masks.Get(key); ok {
		return m, nil
	}
	p, err := ts.outline(g)
	if err != nil {
		return nil, err
	}
	side := int(math.Ceil(maskPad * size))
	limit := 3 * side
	m := vg.Translate(float64(side)+float64(sub)/subpixels, float64(side)).Mul(vg.Scale(size, size))
	rule := vg.NonZero
	if g.missing {
		rule = vg.EvenOdd
	}
	mask := vg.FillMask(p, m, rule, limit, limit)
	width := outline * 2
	if g.fake {
		width += size * fakeBold
	}
	if width > 0 {
		mask = union(mask, vg.StrokeMask(p, m, vg.Stroke{Width: width / size, Join: vg.RoundJoin, Cap: vg.RoundCap}, limit, limit))
	}
	mask.X -= side
	mask.Y -= side
	ts.kept.masks.Put(key, mask, len(mask.Pix)+100)
	return mask, nil
}

// union returns the larger coverage of two masks.
func union(a, b *vg.Mask) *vg.Mask {
	if a.W == 0 {
		return b
	}
	if b.W == 0 {
		return a
	}
	x0, y0 := min(a.X, b.X), min(a.Y, b.Y)
	x1, y1 := max(a.X+a.W, b.X+b.W), max(a.Y+a.H, b.Y+b.H)
	out := &vg.Mask{X: x0, Y: y0, W: x1 - x0, H: y1 - y0, Pix: make([]uint8, (x1-x0)*(y1-y0))}
	for _, m := range []*vg.Mask{a, b} {
		for y := range m.H {
			dst := out.Pix[(y+m.Y-y0)*out.W+m.X-x0:]
			for x, c := range m.Pix[y*m.W : (y+1)*m.W] {
				dst[x] = max(dst[x], c)
			}
		}
	}
	return out
}

// placed is a glyph's mask at its place on the card.
type placed struct {
	mask   *vg.Mask
	dx, dy int
	paint  vg.Paint
}

// text draws a text layer.
func (d *drawing) text(l *layer, box vg.Rect) error {
	if l.Beside != "" {
		if r, ok := d.named[l.Beside]; ok && r.W > 0 {
			if r.X+r.W/2 > box.X+box.W/2 {
				box.W = max(1, min(box.W, r.X-box.X))
			} else {
				right := box.X + box.W
				box.X = max(box.X, r.X+r.W)
				box.W = max(1, right-box.X)
			}
		}
	}
	texts := d.texts(l)
	if len(texts) == 0 {
		return nil
	}
	key := d.sign(l, box)
	for _, t := range texts {
		key.Int(t.part)
		key.Text(t.text)
	}
	return d.show(l, key.Done(), true, func() error { return d.setText(l, texts, box) })
}

// partText is what a card has for one of a layer's parts.
type partText struct {
	part int
	text string
}

// texts returns the parts of a layer that the card has something for.
func (d *drawing) texts(l *layer) []partText {
	var out []partText
	for i := range l.Parts {
		p := &l.Parts[i]
		if !d.card.holds(p.When) {
			continue
		}
		text := setCase(clean(d.card.expand(p.Text)), l.Case)
		if strings.TrimSpace(strings.Trim(text, "·•|/—–- ")) != "" {
			out = append(out, partText{i, text})
		}
	}
	return out
}

// setText sets texts in a box.
func (d *drawing) setText(l *layer, texts []partText, box vg.Rect) error {
	paras, missing, err := d.paragraphs(l, texts)
	if err != nil || len(paras) == 0 {
		return err
	}
	ts := d.tpl.type_
	spacing := l.Spacing
	dots := shapeKey{family: l.Font, bold: l.Bold, italic: l.Italic, lang: d.lang, text: "…"}
	b, err := ts.fit(paras, l, box.W, box.H, spacing, dots)
	if err != nil {
		return err
	}
	if !b.cut {
		if err := ts.balance(b, paras, box.W, spacing); err != nil {
			return err
		}
	}
	if !l.Quiet {
		name := l.Name
		if name == "" {
			name = "text"
		}
		if b.cut {
			d.warn("%s does not fit and was cut: %q", name, excerpt(paras[0].words))
		}
		d.piece.missing = append(d.piece.missing, missing...)
	}
	return d.drawBlock(l, b, box)
}

// paragraphs shapes texts; missing lists characters no font has.
func (d *drawing) paragraphs(l *layer, texts []partText) (paras []*paragraph, missing []rune, err error) {
	ts := d.tpl.type_
	var set *iconSet
	if s, ok := d.tpl.bundle.Icons[l.Symbols]; ok && l.Symbols != "" {
		set = &s
	}
	left := maxText
	for _, t := range texts {
		p, text := &l.Parts[t.part], t.text
		base := shapeKey{family: l.Font, bold: l.Bold, italic: l.Italic, lang: d.lang}
		if p.Bold != nil {
			base.bold = *p.Bold
		}
		if p.Italic != nil {
			base.italic = *p.Italic
		}
		first := true
		blank := false
		for _, s := range splitParagraphs(text) {
			if s == "" {
				blank = true
				continue
			}
			runes, attrs := mark(s, base.italic, set, l.Parentheses == "italic")
			if len(runes) > left {
				runes, attrs = runes[:left], attrs[:left]
				d.warn("%s has more than %d characters and was cut", l.Name, maxText)
			}
			left -= len(runes)
			para, err := ts.build(runes, attrs, base, l.Spacing)
			if err != nil {
				return nil, nil, err
			}
			para.part, para.scale, para.words = p, 1, s
			if p.Scale > 0 {
				para.scale = p.Scale
			}
			para.gap = l.ParagraphGap
			if blank {
				para.gap += 0.25
			}
			if first && len(paras) > 0 {
				para.gap, para.divider = max(p.Gap, l.ParagraphGap), p.Divider
			}
			if len(paras) == 0 {
				para.gap = 0
			}
			first, blank = false, false
			paras = append(paras, para)
			for i := range para.atoms {
				if r := para.atoms[i].run; r != nil {
					missing = append(missing, r.missing...)
				}
			}
			if left <= 0 {
				return paras, missing, nil
			}
		}
	}
	return paras, missing, nil
}

func (d *drawing) drawBlock(l *layer, b *block, box vg.Rect) error {
	ts := d.tpl.type_
	y := box.Y
	switch l.VAlign {
	case "middle":
		capital := 0.68
		if t := ts.families[l.Font].pick(l.Bold, l.Italic)[0]; t.cap > 0 {
			capital = t.cap
		}
		if n := len(b.lines); n > 0 {
			// Centre what the eye sees: from the first capitals to the last baseline, or a
			// little lower where there are several lines.
			first, last := b.size*b.lines[0].para.scale, b.size*b.lines[n-1].para.scale
			low := 0.0
			if n > 1 {
				low = 0.1 * last
			}
			ink := b.height - (ascent-capital)*first - descent*last + low
			y += (box.H-ink)/2 - (ascent-capital)*first
		}
	case "bottom":
		y += box.H - b.height
	}
	base := vg.Paint(vg.Solid(d.look.must(l.Color)))
	var glyphs, halo []placed
	var round vg.Paint // for the outline
	if l.Outline != nil {
		round = vg.Solid(d.look.must(l.Outline.Color))
	}
	for i := range b.lines {
		ln := &b.lines[i]
		lead := b.lead(l, i)
		if ln.first && ln.para.divider != "" && i > 0 {
			mid := y + (lead-ascent*b.size*ln.para.scale)/2 + 0.14*b.size
			rule := &vg.Path{}
			rule.Rectangle(vg.Rect{X: box.X + box.W*0.04, Y: math.Round(mid), W: box.W * 0.92, H: 2}, 0, 0)
			c := d.look.must(ln.para.divider)
			d.fill(rule, vg.Identity, vg.LinearGradient(
				vg.Point{X: box.X + box.W*0.04}, vg.Point{X: box.X + box.W*0.96},
				[]vg.Stop{{At: 0, Color: c.Alpha(0)}, {At: 0.25, Color: c}, {At: 0.75, Color: c}, {At: 1, Color: c.Alpha(0)}},
				vg.Pad, vg.Identity), 1)
		}
		y += lead
		size := b.size * ln.para.scale
		color := base
		if ln.para.part.Color != "" {
			color = vg.Solid(d.look.must(ln.para.part.Color))
		}
		align := l.Align
		if ln.para.part.Align != "" {
			align = ln.para.part.Align
		}
		if ln.para.rtl && align == "" {
			align = "right"
		}
		x := box.X
		switch align {
		case "center":
			x += (box.W - ln.width*size) / 2
		case "right":
			x += box.W - ln.width*size
		}
		baseline := math.Round(y)
		for k := range ln.atoms {
			a := &ln.atoms[k]
			space := a.space * size
			if a.symbol != nil {
				side := 0.86 * size
				if err := d.icon(a.symbol, "", vg.Rect{X: x + 0.03*size, Y: baseline - 0.78*size, W: side, H: side}); err != nil {
					return err
				}
				x += a.width*size + space
				continue
			}
			if a.level&1 == 1 {
				x += space // the space after a word is on its left
			}
			pen := x
			for gi := range a.run.glyphs {
				g := &a.run.glyphs[gi]
				gx := pen + g.x*size + float64(gi)*l.Spacing*size
				ix := math.Floor(gx)
				sub := uint8((gx - ix) * subpixels)
				dy := int(baseline + math.Round(g.y*size))
				m, err := ts.glyphMask(g, size, sub, 0)
				if err != nil {
					return err
				}
				if m.W > 0 {
					glyphs = append(glyphs, placed{m, int(ix), dy, color})
				}
				if l.Outline != nil {
					o, err := ts.glyphMask(g, size, sub, l.Outline.Width)
					if err != nil {
						return err
					}
					if o.W > 0 {
						halo = append(halo, placed{o, int(ix), dy, round})
					}
				}
			}
			x += a.width * size
			if a.level&1 == 0 {
				x += space
			}
		}
	}
	if l.Shadow != nil && len(glyphs) > 0 {
		all := merge(glyphs).Blur(l.Shadow.Blur)
		d.paint(all, int(l.Shadow.DX), int(l.Shadow.DY), vg.Solid(d.look.must(l.Shadow.Color)), d.opacity)
	}
	for _, g := range append(halo, glyphs...) {
		d.paint(g.mask, g.dx, g.dy, g.paint, d.opacity)
	}
	return nil
}

// merge puts glyphs into one mask.
func merge(glyphs []placed) *vg.Mask {
	x0, y0, x1, y1 := math.MaxInt, math.MaxInt, math.MinInt, math.MinInt
	for _, g := range glyphs {
		x, y := g.mask.X+g.dx, g.mask.Y+g.dy
		x0, y0 = min(x0, x), min(y0, y)
		x1, y1 = max(x1, x+g.mask.W), max(y1, y+g.mask.H)
	}
	out := &vg.Mask{X: x0, Y: y0, W: x1 - x0, H: y1 - y0, Pix: make([]uint8, (x1-x0)*(y1-y0))}
	for _, g := range glyphs {
		m := g.mask
		for y := range m.H {
			dst := out.Pix[(y+m.Y+g.dy-y0)*out.W+m.X+g.dx-x0:]
			for x, c := range m.Pix[y*m.W : (y+1)*m.W] {
				dst[x] = max(dst[x], c)
			}
		}
	}
	return out
}

// warnMissing remembers characters that no font has.
func (d *drawing) warnMissing(runes []rune) {
	for _, r := range runes {
		if !slices.Contains(d.missing, r) {
			d.missing = append(d.missing, r)
		}
	}
}

func missingWarning(runes []rune) string {
	slices.Sort(runes)
	names := make([]string, 0, 20)
	for i, r := range runes {
		if i == 20 {
			names = append(names, fmt.Sprintf("and %d more", len(runes)-i))
			break
		}
		names = append(names, fmt.Sprintf("U+%04X", r))
	}
	return "no font of the template has " + strings.Join(names, ", ")
}
