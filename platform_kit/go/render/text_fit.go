package render

import (
	"math"
	"strings"
)

// block is text set at its final size.
type block struct {
	lines  []line
	size   float64
	height float64
	cut    bool // something did not fit
}

// Vertical measures of a block, in em.
const (
	ascent  = 0.74 // above the first baseline
	descent = 0.24 // below the last
)

// measure sets all paragraphs at a size.
func (ts *typesetter) measure(paras []*paragraph, l *layer, width, size, spacing float64, force bool) (*block, bool, error) {
	b := &block{size: size}
	fits := true
	for _, p := range paras {
		lines, ok, err := ts.wrap(p, width/(size*p.scale), spacing, force)
		if err != nil {
			return nil, false, err
		}
		fits = fits && ok
		b.lines = append(b.lines, lines...)
	}
	b.height = b.measureHeight(l)
	if l.MaxLines > 0 && len(b.lines) > l.MaxLines {
		fits = false
	}
	return b, fits, nil
}

// measureHeight is from the top of the first line to below the last.
func (b *block) measureHeight(l *layer) float64 {
	h := 0.0
	for i := range b.lines {
		h += b.lead(l, i)
	}
	if n := len(b.lines); n > 0 {
		h += descent * b.size * b.lines[n-1].para.scale
	}
	return h
}

// lead is the distance from a line's baseline to the one before, or to the top.
func (b *block) lead(l *layer, i int) float64 {
	ln := &b.lines[i]
	if i == 0 {
		return ascent * b.size * ln.para.scale
	}
	h := l.LineHeight * b.size * max(ln.para.scale, b.lines[i-1].para.scale)
	if ln.first {
		h += ln.para.gap * b.size
	}
	return h
}

// oneLine is down to which part of its size a text that may have two lines is
// kept on one.
const oneLine = 0.62

// fit finds the largest size, between the layer's two, at which the text fits
// into the box; at the smallest, what is too much is cut off.
func (ts *typesetter) fit(paras []*paragraph, l *layer, width, height, spacing float64, ellipsis shapeKey) (*block, error) {
	try := func(size float64) (*block, bool, error) {
		b, ok, err := ts.measure(paras, l, width, size, spacing, false)
		return b, err == nil && ok && b.height <= height+0.5, err
	}
	lowest := l.MinSize
	if lowest <= 0 {
		lowest = l.Size
	}
	if l.MaxLines == 2 && oneLine*l.Size > lowest {
		single := *l
		single.MaxLines, single.MinSize = 1, oneLine*l.Size
		if b, err := ts.fit(paras, &single, width, height, spacing, ellipsis); err != nil || !b.cut {
			return b, err
		}
	}
	b, ok, err := try(l.Size)
	if err != nil || ok {
		return b, err
	}
	const step = 0.25
	lo, hi := 0, int(math.Ceil((l.Size-lowest)/step)) // sizes l.Size - k*step; hi might fit
	sizeAt := func(k int) float64 { return max(lowest, l.Size-float64(k)*step) }
	if b, ok, err = try(lowest); err != nil {
		return nil, err
	}
	if ok {
		for hi-lo > 1 {
			mid := (lo + hi) / 2
			c, ok, err := try(sizeAt(mid))
			if err != nil {
				return nil, err
			}
			if ok {
				hi, b = mid, c
			} else {
				lo = mid
			}
		}
		return b, nil
	}
	if b, _, err = ts.measure(paras, l, width, lowest, spacing, true); err != nil {
		return nil, err
	}
	return b, ts.cut(b, l, width, height, spacing, ellipsis)
}

// shortLast is the part of the width that a paragraph's last line should have.
const shortLast = 0.25

// balance narrows paragraphs that end with a single short word, as long as that
// takes no more lines.
func (ts *typesetter) balance(b *block, paras []*paragraph, width, spacing float64) error {
	out := make([]line, 0, len(b.lines))
	rest := b.lines
	for _, p := range paras {
		n := 0
		for n < len(rest) && rest[n].para == p {
			n++
		}
		lines := rest[:n]
		rest = rest[n:]
		whole := width / (b.size * p.scale)
		for k := 1; k <= 10 && n > 1 && lines[n-1].width < shortLast*whole; k++ {
			narrow, ok, err := ts.wrap(p, whole*(1-0.03*float64(k)), spacing, false)
			if err != nil {
				return err
			}
			if !ok || len(narrow) > n {
				break
			}
			lines = narrow
		}
		out = append(out, lines...)
	}
	b.lines = out
	return nil
}

// cut drops the lines that do not fit and ends the last with an ellipsis.
func (ts *typesetter) cut(b *block, l *layer, width, height, spacing float64, ellipsis shapeKey) error {
	n := len(b.lines)
	for n > 1 && (l.MaxLines > 0 && n > l.MaxLines || b.height > height+0.5) {
		n--
		b.lines = b.lines[:n]
		b.height = b.measureHeight(l)
		b.cut = true
	}
	if !b.cut {
		return nil
	}
	ln := &b.lines[n-1]
	ln.dots = true
	dots, err := ts.shape(ellipsis)
	if err != nil {
		return err
	}
	limit := width/(b.size*ln.para.scale) - dots.width
	atoms, err := ts.pieces(ln.atoms, spacing)
	if err != nil {
		return err
	}
	// The end of the text is on the left of a line that runs from right to left.
	if ln.para.rtl {
		for len(atoms) > 0 && total(atoms) > limit {
			atoms = atoms[1:]
		}
	} else {
		for len(atoms) > 0 && total(atoms) > limit {
			atoms = atoms[:len(atoms)-1]
		}
	}
	if total(ln.atoms) > limit {
		ln.atoms = atoms
	}
	dot := atom{run: dots, width: dots.width, key: ellipsis}
	if ln.para.rtl {
		ln.atoms = append([]atom{dot}, ln.atoms...)
	} else {
		if k := len(ln.atoms); k > 0 {
			ln.atoms[k-1].space = 0
		}
		ln.atoms = append(ln.atoms, dot)
	}
	ln.width = total(ln.atoms)
	return nil
}

func total(atoms []atom) float64 {
	w := 0.0
	for i, a := range atoms {
		w += a.width
		if i < len(atoms)-1 {
			w += a.space
		}
	}
	return w
}

// paragraphs splits a part at its line ends.
func splitParagraphs(s string) []string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		line = strings.TrimSpace(line)
		if line == "" && (len(out) == 0 || out[len(out)-1] == "") {
			continue
		}
		out = append(out, line)
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}
