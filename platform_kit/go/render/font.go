package render

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"

	"platform-kit/render/internal/vg"
)

// em is the size at which text is shaped; results are divided by it.
const em = 2048

// typeface is one font file, loaded when first needed.
type typeface struct {
	digest string
	index  int // in the template, for cache keys
	fetch  func(string) ([]byte, error)

	mu   sync.Mutex
	font *font.Font
	upem float64
	cap  float64 // height of capitals, in em
	bold bool    // its strokes are heavy
}

// load returns the parsed font. A failed fetch is tried again next time.
func (t *typeface) load() (*font.Font, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.font != nil {
		return t.font, nil
	}
	data, err := t.fetch(t.digest)
	if err != nil {
		return nil, fmt.Errorf("font %s: %w", t.digest, err)
	}
	f, err := parseFont(data)
	if err != nil {
		return nil, fmt.Errorf("font %s: %w", t.digest, err)
	}
	t.upem = max(float64(f.Upem()), 1)
	face := font.NewFace(f)
	t.cap = float64(face.LineMetric(font.CapHeight)) / t.upem
	if t.cap < 0.3 || t.cap > 1.2 {
		t.cap = 0.7
	}
	t.bold = f.Describe().Aspect.Weight >= font.WeightSemibold
	t.font = f
	return f, nil
}

// parseFont reads a font file; a damaged one is an error, never a panic.
func parseFont(data []byte) (f *font.Font, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	face, err := font.ParseTTF(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return face.Font, nil
}

// family is the faces of one name; missing ones are nil.
type family struct {
	regular, bold, italic, boldItalic *typeface
}

// pick returns the faces to try in order, the best first.
func (f *family) pick(bold, italic bool) []*typeface {
	var order [4]*typeface
	switch {
	case bold && italic:
		order = [4]*typeface{f.boldItalic, f.bold, f.italic, f.regular}
	case bold:
		order = [4]*typeface{f.bold, f.regular}
	case italic:
		order = [4]*typeface{f.italic, f.regular}
	default:
		order = [4]*typeface{f.regular}
	}
	var out []*typeface
	for _, t := range order {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// glyph is one positioned glyph; lengths are in em.
type glyph struct {
	face    *typeface
	gid     font.GID
	x, y    float64
	advance float64
	scale   float64 // of a fallback face, to match the text around it
	fake    bool    // the face is not bold, the text is
	missing bool
}

// shapedRun is a piece of text in one direction, from left to right.
type shapedRun struct {
	glyphs  []glyph
	width   float64
	missing []rune
}

type shapeKey struct {
	family       string
	bold, italic bool
	rtl          bool
	lang, text   string
}

// runKey names a shaped text of a template.
type runKey struct {
	template templateID
	shapeKey
}

// typesetter shapes text with a template's fonts.
type typesetter struct {
	families map[string]*family
	fallback []*typeface
	shapers  sync.Pool
	template templateID
	kept     *kept
}

// shaper is what one goroutine at a time needs.
type shaper struct {
	hb    shaping.HarfbuzzShaper
	faces map[*typeface]*font.Face
}

func (s *shaper) face(t *typeface) (*font.Face, error) {
	if f := s.faces[t]; f != nil {
		return f, nil
	}
	f, err := t.load()
	if err != nil {
		return nil, err
	}
	s.faces[t] = font.NewFace(f)
	return s.faces[t], nil
}

func newTypesetter(b *bundle, fetch func(string) ([]byte, error), id templateID, keep *kept) *typesetter {
	ts := &typesetter{families: map[string]*family{}, template: id, kept: keep}
	ts.shapers.New = func() any { return &shaper{faces: map[*typeface]*font.Face{}} }
	known := map[string]*typeface{}
	get := func(digest string) *typeface {
		if digest == "" {
			return nil
		}
		if known[digest] == nil {
			known[digest] = &typeface{digest: digest, index: len(known), fetch: fetch}
		}
		return known[digest]
	}
	for name, f := range b.Fonts {
		ts.families[name] = &family{get(f["regular"]), get(f["bold"]), get(f["italic"]), get(f["bold_italic"])}
	}
	for _, digest := range b.Fallback {
		ts.fallback = append(ts.fallback, get(digest))
	}
	return ts
}

// ignorable tells whether a font need not have a glyph for r.
func ignorable(r rune) bool {
	return r == 0xAD || r == 0x61C || r >= 0x200B && r <= 0x200F || r >= 0x202A && r <= 0x202E ||
		r >= 0x2060 && r <= 0x206F || r >= 0xFE00 && r <= 0xFE0F || r == 0xFEFF || r >= 0xE0000 && r <= 0xE0FFF
}

// choose returns the first face that has every rune of a cluster.
func (s *shaper) choose(chain []*typeface, cluster []rune) (*typeface, error) {
	for _, t := range chain {
		face, err := s.face(t)
		if err != nil {
			return nil, err
		}
		all := true
		for _, r := range cluster {
			if !ignorable(r) {
				if _, ok := face.NominalGlyph(r); !ok {
					all = false
					break
				}
			}
		}
		if all {
			return t, nil
		}
	}
	return nil, nil
}

// shape shapes text that has no line break inside and one direction.
func (ts *typesetter) shape(key shapeKey) (*shapedRun, error) {
	if run, ok := ts.kept.runs.Get(runKey{ts.template, key}); ok {
		return run, nil
	}
	s := ts.shapers.Get().(*shaper)
	run, err := ts.shapeWith(s, key)
	if err != nil {
		return nil, err
	}
	ts.shapers.Put(s) // not after a panic: its state may be damaged
	ts.kept.runs.Put(runKey{ts.template, key}, run, 64*len(run.glyphs)+2*len(key.text)+100)
	return run, nil
}

func (ts *typesetter) shapeWith(s *shaper, key shapeKey) (*shapedRun, error) {
	fam := ts.families[key.family]
	own := fam.pick(key.bold, key.italic)
	chain := append(append([]*typeface{}, own...), ts.fallback...)
	text := []rune(key.text)
	run := &shapedRun{}
	type piece struct {
		face       *typeface
		start, end int
	}
	var pieces []piece
	for i := 0; i < len(text); {
		j := i + 1
		for j < len(text) && extends(text[j]) {
			j++
		}
		face, err := s.choose(chain, text[i:j])
		if err != nil {
			return nil, err
		}
		if face == nil && j > i+1 { // a base the fonts have, with marks they have not
			if face, err = s.choose(chain, text[i:i+1]); err != nil {
				return nil, err
			}
			for _, r := range text[i+1 : j] {
				if face != nil && !ignorable(r) {
					run.missing = append(run.missing, r)
				}
			}
			text = append(text[:i+1:i+1], text[j:]...)
			j = i + 1
		}
		if n := len(pieces); n > 0 && pieces[n-1].face == face && face != nil {
			pieces[n-1].end = j
		} else {
			pieces = append(pieces, piece{face, i, j})
		}
		i = j
	}
	if key.rtl {
		for i, j := 0, len(pieces)-1; i < j; i, j = i+1, j-1 {
			pieces[i], pieces[j] = pieces[j], pieces[i]
		}
	}
	dir := di.DirectionLTR
	if key.rtl {
		dir = di.DirectionRTL
	}
	for _, p := range pieces {
		if p.face == nil {
			run.missing = append(run.missing, text[p.start])
			run.glyphs = append(run.glyphs, glyph{x: run.width, advance: 0.72, scale: 1, missing: true})
			run.width += 0.72
			continue
		}
		face, err := s.face(p.face)
		if err != nil {
			return nil, err
		}
		script := language.Common
		for _, r := range text[p.start:p.end] {
			if sc := language.LookupScript(r); sc != language.Common && sc != language.Inherited {
				script = sc
				break
			}
		}
		out := s.hb.Shape(shaping.Input{
			Text: text, RunStart: p.start, RunEnd: p.end, Direction: dir, Face: face,
			Size: fixed.I(em), Script: script, Language: language.NewLanguage(key.lang),
			FontFeatures: features,
		})
		fake := !p.face.bold && (key.bold || own[0].bold)
		k := 1.0
		if !slices.Contains(own, p.face) {
			k = min(max(own[0].cap/p.face.cap, 0.88), 1.1)
		}
		unit := k / 64 / em
		for _, g := range out.Glyphs {
			run.glyphs = append(run.glyphs, glyph{
				face: p.face, gid: g.GlyphID, fake: fake, scale: k,
				x: run.width + float64(g.XOffset)*unit, y: -float64(g.YOffset) * unit, advance: float64(g.Advance) * unit,
			})
			run.width += float64(g.Advance) * unit
		}
	}
	return run, nil
}

// features are asked of every font: kerning, and digits as high as capitals,
// because cards are full of figures.
var features = []shaping.FontFeature{
	{Tag: opentype.MustNewTag("kern"), Value: 1},
	{Tag: opentype.MustNewTag("lnum"), Value: 1},
}

// outlineKey names a glyph of a template.
type outlineKey struct {
	template templateID
	face     int
	gid      font.GID
}

// outline returns a glyph's path, one em high, y running down.
func (ts *typesetter) outline(g *glyph) (*vg.Path, error) {
	if g.missing {
		return missingMark, nil
	}
	key := outlineKey{ts.template, g.face.index, g.gid}
	if p, ok := ts.kept.outlines.Get(key); ok {
		return p, nil
	}
	s := ts.shapers.Get().(*shaper)
	face, err := s.face(g.face)
	if err != nil {
		return nil, err
	}
	p := &vg.Path{}
	k := 1 / g.face.upem
	if o, ok := face.GlyphData(g.gid).(font.GlyphOutline); ok {
		open := false
		for _, seg := range o.Segments {
			a := seg.Args
			x := func(i int) float64 { return float64(a[i].X) * k }
			y := func(i int) float64 { return -float64(a[i].Y) * k }
			switch seg.Op {
			case opentype.SegmentOpMoveTo:
				if open {
					p.Close()
				}
				p.MoveTo(x(0), y(0))
				open = true
			case opentype.SegmentOpLineTo:
				p.LineTo(x(0), y(0))
			case opentype.SegmentOpQuadTo:
				p.QuadTo(x(0), y(0), x(1), y(1))
			case opentype.SegmentOpCubeTo:
				p.CubeTo(x(0), y(0), x(1), y(1), x(2), y(2))
			}
		}
		if open {
			p.Close()
		}
	}
	ts.shapers.Put(s)
	ts.kept.outlines.Put(key, p, 24*p.Len()+200)
	return p, nil
}

// missingMark is drawn in the place of a character that no font has: an
// upright lozenge with a question mark left out of it.
var missingMark = func() *vg.Path {
	p, err := vg.ParsePath("M.36 -.82 L.68 -.36 L.36 .1 L.04 -.36 Z " +
		"M.25 -.46 A.115 .115 0 1 1 .4 -.37 Q.385 -.36 .385 -.31 L.335 -.31 Q.335 -.385 .375 -.405 A.065 .065 0 1 0 .3 -.46 Z " +
		"M.325 -.25 L.395 -.25 L.395 -.17 L.325 -.17 Z")
	if err != nil {
		panic(err)
	}
	return p
}()
