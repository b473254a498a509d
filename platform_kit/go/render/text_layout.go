package render

import (
	"strings"
	"unicode"

	"github.com/go-text/typesetting/segmenter"
	"golang.org/x/text/unicode/bidi"
)

// atom is what a line is made of: text that is not broken, or a symbol.
// Lengths are in em of the paragraph's size.
type atom struct {
	run    *shapedRun
	symbol *icon
	text   []rune // what the run shows; the run can be broken in an emergency
	key    shapeKey
	width  float64
	space  float64 // width of the spaces after it
	breaks bool    // a line may end after it
	level  uint8   // bidi level
	last   bool    // the paragraph ends here
}

// symbolWidth is an inline symbol's width in em.
const symbolWidth = 0.92

// paragraph is text between two explicit line ends.
type paragraph struct {
	atoms   []atom
	part    *part
	scale   float64
	gap     float64 // space before it, in em of the layer's size
	rtl     bool
	divider string
	words   string
}

// line is a set line; its atoms are in visual order.
type line struct {
	para  *paragraph
	atoms []atom
	width float64 // in em
	first bool    // of its paragraph
	dots  bool    // an ellipsis follows
}

// build shapes a paragraph.
func (ts *typesetter) build(text []rune, attrs []attr, base shapeKey, spacing float64) (*paragraph, error) {
	p := &paragraph{}
	levels := bidiLevels(text)
	p.rtl = len(levels) > 0 && baseRTL(text)
	var seg segmenter.Segmenter
	seg.Init(text)
	iter := seg.LineIterator()
	for iter.Next() {
		l := iter.Line()
		start, end := l.Offset, l.Offset+len(l.Text)
		inWord := end < len(text) && end > 0 && hangul(text[end-1]) && hangul(text[end])
		for i := start; i < end; {
			j := i + 1
			for attrs[i].symbol == nil && j < end && attrs[j] == attrs[i] && at(levels, j) == at(levels, i) {
				j++
			}
			a := atom{breaks: j == end && !inWord, level: at(levels, i), symbol: attrs[i].symbol}
			if a.symbol != nil {
				a.width = symbolWidth
			} else {
				body := text[i:j]
				n := len(body)
				for n > 0 && unicode.IsSpace(body[n-1]) && body[n-1] != 0xA0 {
					n--
				}
				key := base
				key.italic, key.rtl = attrs[i].italic, a.level&1 == 1
				key.text = string(body[:n])
				a.key, a.text = key, body[:n]
				run, err := ts.shape(key)
				if err != nil {
					return nil, err
				}
				a.run, a.width = run, run.width+spacing*float64(len(run.glyphs))
				if n < len(body) {
					key.text = " "
					sp, err := ts.shape(key)
					if err != nil {
						return nil, err
					}
					a.space = (sp.width + spacing) * float64(len(body)-n)
				}
			}
			if a.symbol != nil && j < len(attrs) && attrs[j].symbol != nil {
				a.breaks = false // a row of symbols stays together
			}
			p.atoms = append(p.atoms, a)
			i = j
		}
	}
	if n := len(p.atoms); n > 0 {
		p.atoms[n-1].last = true
		p.atoms[n-1].breaks = true
	}
	return p, nil
}

// hangul tells whether r is a Korean syllable. Korean puts spaces between words
// and, unlike Chinese and Japanese, is not broken inside of them.
func hangul(r rune) bool { return r >= 0xAC00 && r <= 0xD7A3 || r >= 0x1100 && r <= 0x11FF }

func at(levels []uint8, i int) uint8 {
	if i < len(levels) {
		return levels[i]
	}
	return 0
}

// bidiLevels returns a level for every rune, or nil if all text runs from left to right.
func bidiLevels(text []rune) []uint8 {
	rtl := false
	for _, r := range text {
		if r >= 0x590 && r <= 0x8FF || r >= 0xFB1D && r <= 0xFEFC || r == 0x202B || r == 0x2067 || r >= 0x10800 && r <= 0x10FFF || r >= 0x1E800 && r <= 0x1EFFF {
			rtl = true
			break
		}
	}
	if !rtl {
		return nil
	}
	var p bidi.Paragraph
	base := baseRTL(text)
	dir := bidi.LeftToRight
	if base {
		dir = bidi.RightToLeft
	}
	if _, err := p.SetString(string(text), bidi.DefaultDirection(dir)); err != nil {
		return nil
	}
	order, err := p.Order()
	if err != nil {
		return nil
	}
	levels := make([]uint8, len(text))
	before := dir
	for i := range order.NumRuns() {
		run := order.Run(i)
		start, end := run.Pos() // of runes, the end included
		level := uint8(0)
		switch {
		case run.Direction() == bidi.RightToLeft:
			level = 1
		case base || before == bidi.RightToLeft && !hasLetters(run.String()):
			level = 2 // also a number inside of text that runs from right to left
		}
		before = run.Direction()
		for k := max(start, 0); k <= end && k < len(levels); k++ {
			levels[k] = level
		}
	}
	return levels
}

// hasLetters tells whether text has a letter that runs from left to right.
func hasLetters(s string) bool {
	for _, r := range s {
		if p, _ := bidi.LookupRune(r); p.Class() == bidi.L {
			return true
		}
	}
	return false
}

// baseRTL tells whether the first strong character runs from right to left.
func baseRTL(text []rune) bool {
	for _, r := range text {
		p, _ := bidi.LookupRune(r)
		switch p.Class() {
		case bidi.L:
			return false
		case bidi.R, bidi.AL:
			return true
		}
	}
	return false
}

// reorder puts a line's atoms into visual order (rule L2).
func reorder(atoms []atom) {
	high := uint8(0)
	for _, a := range atoms {
		high = max(high, a.level)
	}
	for level := high; level >= 1; level-- {
		for i := 0; i < len(atoms); {
			if atoms[i].level < level {
				i++
				continue
			}
			j := i
			for j < len(atoms) && atoms[j].level >= level {
				j++
			}
			for a, b := i, j-1; a < b; a, b = a+1, b-1 {
				atoms[a], atoms[b] = atoms[b], atoms[a]
			}
			i = j
		}
	}
}

// wrap breaks a paragraph into lines at most width em wide. Only with force
// are words broken that are wider than a line; without it, ok tells whether
// there was one.
func (ts *typesetter) wrap(p *paragraph, width, spacing float64, force bool) (lines []line, ok bool, err error) {
	if len(p.atoms) == 0 {
		return []line{{para: p, first: true}}, true, nil
	}
	ok = true
	var cur []atom
	used := 0.0 // with the spaces
	end := func() {
		l := line{para: p, atoms: cur, first: len(lines) == 0}
		if n := len(l.atoms); n > 0 {
			l.atoms[n-1].space = 0
		}
		for _, a := range l.atoms {
			l.width += a.width + a.space
		}
		reorder(l.atoms)
		lines = append(lines, l)
		cur, used = nil, 0
	}
	atoms := p.atoms
	for i := 0; i < len(atoms); {
		j, w := i, 0.0
		for {
			w += atoms[j].width
			if atoms[j].breaks || j == len(atoms)-1 {
				break
			}
			w += atoms[j].space
			j++
		}
		unit := atoms[i : j+1]
		i = j + 1
		if used+w > width+1e-9 && len(cur) > 0 {
			end()
		}
		if w > width+1e-9 {
			ok = false
			if force {
				pieces, err := ts.pieces(unit, spacing)
				if err != nil {
					return nil, false, err
				}
				for _, a := range pieces {
					if used+a.width > width+1e-9 && len(cur) > 0 {
						end()
					}
					cur = append(cur, a)
					used += a.width + a.space
				}
				continue
			}
		}
		cur = append(cur, unit...)
		for _, a := range unit {
			used += a.width + a.space
		}
	}
	if len(cur) > 0 {
		end()
	}
	return lines, ok, nil
}

// pieces splits atoms into single characters.
func (ts *typesetter) pieces(atoms []atom, spacing float64) ([]atom, error) {
	var out []atom
	for _, a := range atoms {
		if a.symbol != nil || len(a.text) < 2 {
			out = append(out, a)
			continue
		}
		for i := 0; i < len(a.text); {
			j := i + 1
			for j < len(a.text) && extends(a.text[j]) {
				j++
			}
			key := a.key
			key.text = string(a.text[i:j])
			run, err := ts.shape(key)
			if err != nil {
				return nil, err
			}
			piece := atom{run: run, text: a.text[i:j], key: key, width: run.width + spacing*float64(len(run.glyphs)), level: a.level, breaks: true}
			if j == len(a.text) {
				piece.space = a.space
			}
			out = append(out, piece)
			i = j
		}
	}
	return out, nil
}

// content is the text of the paragraph's start, for warnings.
func excerpt(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	r := []rune(s)
	if len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return s
}
