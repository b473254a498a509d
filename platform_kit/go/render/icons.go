package render

import (
	"math"
	"strings"
	"unicode"

	"platform-kit/render/internal/vg"
)

// maxSymbols bounds the symbols of one field.
const maxSymbols = 60

// find returns the icon for a symbol, or nil.
func (s *iconSet) find(symbol string) *icon {
	want := fold(symbol)
	for _, ic := range s.Symbols {
		if fold(ic.Key) == want {
			return ic
		}
	}
	for _, ic := range s.Symbols {
		for _, w := range ic.Words {
			if fold(w) == want {
				return ic
			}
		}
	}
	if s.Default != nil && want != "" && len([]rune(want)) <= 4 && isSymbol(want) {
		named := *s.Default
		named.Key = strings.ToUpper(strings.TrimSpace(symbol))
		return &named
	}
	return nil
}

// isSymbol tells numbers and short marks, such as 12, X or W/U, from words.
func isSymbol(s string) bool {
	for _, r := range s {
		if !unicode.IsDigit(r) && !unicode.IsLetter(r) && !strings.ContainsRune("/½∞+-", r) {
			return false
		}
	}
	return true
}

// symbols splits a field into what its icons stand for.
func (d *drawing) symbols(l *layer, set *iconSet) []string {
	if list, ok := d.card.Derived[l.Field].([]any); ok && l.Split == "cost" {
		var out []string
		for _, v := range list {
			if s := scalar(v); s != "" && len(out) < maxSymbols {
				out = append(out, s)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	value := d.card.field(l.Field)
	if value == "" {
		return nil
	}
	if l.Split != "cost" {
		return []string{value}
	}
	var out []string
	if strings.Contains(value, "{") {
		for _, piece := range strings.FieldsFunc(value, func(r rune) bool { return r == '{' || r == '}' }) {
			if piece = strings.TrimSpace(piece); piece != "" {
				out = append(out, piece)
			}
		}
		return out
	}
	// 2RR is a number and letters, if the set knows every letter.
	runes := []rune(value)
	for i := 0; i < len(runes); {
		j := i + 1
		if unicode.IsDigit(runes[i]) {
			for j < len(runes) && unicode.IsDigit(runes[j]) {
				j++
			}
		} else if runes[i] == ' ' {
			i++
			continue
		} else if !set.has(string(runes[i])) {
			return []string{value}
		}
		out = append(out, string(runes[i:j]))
		i = j
	}
	return out
}

func (s *iconSet) has(key string) bool {
	for _, ic := range s.Symbols {
		if fold(ic.Key) == fold(key) {
			return true
		}
	}
	return false
}

// match finds the icon for a whole value, e.g. a type line.
func (s *iconSet) match(value string) *icon {
	v := fold(value)
	for _, ic := range s.Symbols {
		if fold(ic.Key) == v {
			return ic
		}
	}
	for _, ic := range s.Symbols {
		if hasWord(v, fold(ic.Key)) {
			return ic
		}
		for _, w := range ic.Words {
			if hasWord(v, fold(w)) {
				return ic
			}
		}
	}
	return s.Default
}

// icons draws a row of icons, as large as the layer says or as fits.
func (d *drawing) icons(l *layer, box vg.Rect) error {
	set := d.tpl.bundle.Icons[l.Set]
	symbols := d.symbols(l, &set)
	var row []*icon
	for _, s := range symbols {
		var ic *icon
		if l.Split == "cost" {
			if ic = set.find(s); ic == nil && set.Default != nil {
				named := *set.Default
				named.Key = s
				ic = &named
			}
		} else {
			if ic = set.match(s); ic == nil && len(symbols) == 1 {
				continue
			}
		}
		if ic != nil {
			row = append(row, ic)
		}
	}
	if len(row) == 0 {
		return nil
	}
	key := d.sign(l, box)
	for _, s := range symbols {
		key.Text(s)
	}
	return d.show(l, key.Done(), true, func() error { return d.iconRow(l, row, box) })
}

// iconRow draws icons beside each other.
func (d *drawing) iconRow(l *layer, row []*icon, box vg.Rect) error {
	if len(row) == 1 && row[0].wordy() && len(d.tpl.names) > 0 {
		return d.capsule(l, row[0], box)
	}
	n := float64(len(row))
	size := l.Size
	smallest := l.MinSize
	if smallest <= 0 {
		smallest = size / 2
	}
	width := func() float64 { return n*size + (n-1)*l.Gap*size }
	if w := width(); w > box.W {
		size = max(smallest, size*box.W/w)
	}
	if width() > box.W+0.5 {
		fit := max(1, int((box.W+l.Gap*size)/(size*(1+l.Gap))))
		d.warn("%s has %d symbols; %d were drawn", l.Field, len(row), fit)
		row = row[:fit]
		n = float64(fit)
	}
	x := box.X
	switch l.Align {
	case "right":
		x += box.W - width()
	case "center":
		x += (box.W - width()) / 2
	}
	y := box.Y + (box.H-size)/2
	if l.Name != "" {
		d.piece.room = vg.Rect{X: x - 0.25*size, Y: y, W: width() + 0.5*size, H: size}
	}
	for _, ic := range row {
		r := vg.Rect{X: x, Y: y, W: size, H: size}
		if l.Shadow != nil {
			p := iconShape(ic.Shape, r)
			m := vg.FillMask(p, vg.Identity, vg.NonZero, d.tpl.bundle.Width, d.tpl.bundle.Height).Blur(l.Shadow.Blur)
			d.paint(m, int(l.Shadow.DX), int(l.Shadow.DY), vg.Solid(d.look.must(l.Shadow.Color)), d.opacity)
		}
		if err := d.icon(ic, l.Color, r); err != nil {
			return err
		}
		x += size * (1 + l.Gap)
	}
	return nil
}

// wordy tells whether an icon shows a text that is too long for a round one.
func (i *icon) wordy() bool {
	return i.path == nil && i.Image == nil && i.Text == nil && len([]rune(i.Key)) > 3
}

// capsule draws an icon made longer for its text, such as "4 gold".
func (d *drawing) capsule(l *layer, ic *icon, box vg.Rect) error {
	run, err := d.tpl.type_.shape(shapeKey{family: d.tpl.iconFont(ic.Font), bold: true, lang: d.lang, text: ic.Key})
	if err != nil {
		return err
	}
	size := min(l.Size, box.H)
	r := vg.Rect{X: box.X, Y: box.Y + (box.H-size)/2, W: min(box.W, max(size, size*(0.56*run.width/labelWidth))), H: size}
	switch l.Align {
	case "right":
		r.X += box.W - r.W
	case "center":
		r.X += (box.W - r.W) / 2
	}
	if l.Name != "" {
		d.piece.room = vg.Rect{X: r.X - 0.25*size, Y: r.Y, W: r.W + 0.5*size, H: size}
	}
	round := *ic
	round.Shape = "capsule"
	return d.icon(&round, l.Color, r)
}

// labelWidth is how much of an icon's width its text may take.
const labelWidth = 0.78

// icon draws one icon into a square.
func (d *drawing) icon(ic *icon, color string, r vg.Rect) error {
	shape := iconShape(ic.Shape, r)
	if ic.Fill != nil && ic.Shape != "none" {
		d.fill(shape, vg.Identity, d.look.paint(ic.Fill, r), d.opacity)
	}
	if ic.Stroke != "" && ic.Shape != "none" {
		w := ic.Width
		if w <= 0 {
			w = 0.05
		}
		line := vg.StrokeMask(shape, vg.Identity, vg.Stroke{Width: w * r.H, Join: vg.RoundJoin}, d.tpl.bundle.Width, d.tpl.bundle.Height)
		d.paint(line, 0, 0, vg.Solid(d.look.must(ic.Stroke)), d.opacity)
	}
	if ic.Color != "" {
		color = ic.Color
	}
	if color == "" {
		color = "#000000"
	}
	ink := d.look.must(color)
	inner := r.Inset(ic.Inset * r.W)
	switch {
	case ic.Image != nil:
		d.place(imageDab{ic.Image, int(math.Ceil(inner.W)), int(math.Ceil(inner.H)), "contain", ink},
			int(math.Round(inner.X)), int(math.Round(inner.Y)))
	case ic.path != nil:
		m := vg.Translate(inner.X, inner.Y).Mul(vg.Scale(inner.W/100, inner.H/100))
		d.fill(ic.path, m, vg.Solid(ink), d.opacity)
	default:
		label := ic.Key
		if ic.Text != nil {
			label = *ic.Text
		}
		if label == "" {
			return nil
		}
		return d.label(label, ic.Font, r, ink)
	}
	return nil
}

// iconFont is the family of an icon's text: its own, or the template's first.
func (t *Template) iconFont(name string) string {
	if name == "" && len(t.names) > 0 {
		return t.names[0]
	}
	return name
}

// label centres a short text in a square.
func (d *drawing) label(text, fontName string, r vg.Rect, ink vg.Color) error {
	ts := d.tpl.type_
	if fontName = d.tpl.iconFont(fontName); fontName == "" {
		return nil
	}
	key := shapeKey{family: fontName, bold: true, lang: d.lang, text: text}
	run, err := ts.shape(key)
	if err != nil {
		return err
	}
	d.piece.missing = append(d.piece.missing, run.missing...)
	size := 0.74 * r.H
	if w := run.width * size; w > labelWidth*r.W {
		size *= labelWidth * r.W / w
	}
	capital := 0.68
	if t := ts.families[fontName].pick(true, false)[0]; t.cap > 0 {
		capital = t.cap
	}
	paint := vg.Solid(ink)
	x := r.X + (r.W-run.width*size)/2
	y := int(math.Round(r.Y + (r.H+capital*size)/2))
	for i := range run.glyphs {
		g := &run.glyphs[i]
		gx := x + g.x*size
		ix := math.Floor(gx)
		m, err := ts.glyphMask(g, size, uint8((gx-ix)*subpixels), 0)
		if err != nil {
			return err
		}
		d.paint(m, int(ix), y+int(math.Round(g.y*size)), paint, d.opacity)
	}
	return nil
}

// iconShape is the outline of an icon's ground.
func iconShape(name string, r vg.Rect) *vg.Path {
	p := &vg.Path{}
	cx, cy, h := r.X+r.W/2, r.Y+r.H/2, r.W/2
	polygon := func(n int, radius, turn float64) {
		points := make([]vg.Point, n)
		for i := range points {
			s, c := math.Sincos(turn + 2*math.Pi*float64(i)/float64(n))
			points[i] = vg.Point{X: cx + radius*c, Y: cy + radius*s}
		}
		p.Polygon(points...)
	}
	switch name {
	case "capsule":
		p.Rectangle(r, r.H/2, r.H/2)
	case "square":
		p.Rectangle(r, 0.18*r.W, 0.18*r.W)
	case "diamond":
		polygon(4, h*1.05, -math.Pi/2)
	case "hexagon":
		polygon(6, h*1.04, -math.Pi/2)
	case "octagon":
		polygon(8, h*1.03, math.Pi/8)
	case "shield":
		q, _ := vg.ParsePath("M8 6 Q50 14 92 6 L92 50 Q92 82 50 100 Q8 82 8 50 Z")
		p.Append(q, vg.Translate(r.X, r.Y).Mul(vg.Scale(r.W/100, r.H/100)))
	case "drop":
		q, _ := vg.ParsePath("M50 0 Q86 46 86 64 A36 36 0 0 1 14 64 Q14 46 50 0 Z")
		p.Append(q, vg.Translate(r.X, r.Y).Mul(vg.Scale(r.W/100, r.H/100)))
	default:
		p.Ellipse(cx, cy, h, h)
	}
	return p
}
