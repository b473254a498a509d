package render

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"platform-kit/render/internal/vg"
)

// look is the colours in force for a card.
type look struct {
	colors map[string]string
	keys   []string // the choice made for every style
}

// choose picks the style for a value.
func (s *styleSet) choose(value string) (set map[string]string, key string) {
	v := fold(value)
	if v == "" {
		return s.Default, ""
	}
	for i := range s.Values {
		if fold(s.Values[i].Key) == v {
			return s.Values[i].Set, s.Values[i].Key
		}
	}
	for i := range s.Values {
		for _, w := range s.Values[i].Words {
			if hasWord(v, fold(w)) {
				return s.Values[i].Set, s.Values[i].Key
			}
		}
		if hasWord(v, fold(s.Values[i].Key)) {
			return s.Values[i].Set, s.Values[i].Key
		}
	}
	if len(s.Spread) > 0 {
		want := s.Spread[hash(v)%uint64(len(s.Spread))]
		for i := range s.Values {
			if s.Values[i].Key == want {
				return s.Values[i].Set, s.Values[i].Key
			}
		}
	}
	return s.Default, ""
}

func (b *bundle) look(c *Card) *look {
	l := &look{colors: maps.Clone(b.Colors)}
	if l.colors == nil {
		l.colors = map[string]string{}
	}
	for i := range b.Styles {
		s := &b.Styles[i]
		maps.Copy(l.colors, s.Default)
		set, name := s.choose(c.key(s.Field))
		if name == "" { // what the pipeline derived means nothing here; what the deck says may
			set, name = s.choose(c.field(s.Field))
		}
		maps.Copy(l.colors, set)
		l.keys = append(l.keys, name)
	}
	return l
}

// stylesOf lists the styles that the colours of layers depend on.
func (b *bundle) stylesOf(layers []*layer) []int {
	names := map[string]bool{}
	var use func(expr string)
	use = func(expr string) {
		name, ok := strings.CutPrefix(expr, "$")
		if i := strings.IndexAny(name, "+-@"); i >= 0 {
			name = name[:i]
		}
		if !ok || names[name] {
			return
		}
		names[name] = true
		use(b.Colors[name])
		for _, s := range b.Styles {
			use(s.Default[name])
			for _, v := range s.Values {
				use(v.Set[name])
			}
		}
	}
	paint := func(p *paintSpec) {
		if p == nil {
			return
		}
		use(p.Color)
		if g := p.gradient(); g != nil {
			for _, s := range g.Stops {
				use(s.Color)
			}
		}
	}
	var visit func(layers []*layer)
	visit = func(layers []*layer) {
		for _, l := range layers {
			paint(l.Fill)
			paint(l.Stroke)
			use(l.Color)
			if l.Shadow != nil {
				use(l.Shadow.Color)
			}
			visit(l.Layers)
		}
	}
	visit(layers)
	var out []int
	for i, s := range b.Styles {
		for name := range s.Default {
			if names[name] {
				out = append(out, i)
				break
			}
		}
	}
	return out
}

// color evaluates an expression: #rrggbb or $name, then optionally +N or -N
// (lighter or darker by N percent), then optionally @A (alpha, 0 to 1).
func (l *look) color(expr string) (vg.Color, error) { return l.colorAt(expr, 0) }

func (l *look) colorAt(expr string, depth int) (vg.Color, error) {
	if depth > 10 {
		return vg.Color{}, fmt.Errorf("colour %q refers to itself", expr)
	}
	base, alpha, hasAlpha := strings.Cut(expr, "@")
	shift := 0.0
	if i := strings.LastIndexAny(base, "+-"); i > 0 {
		v, err := strconv.ParseFloat(base[i:], 64)
		if err == nil {
			shift, base = v/100, base[:i]
		}
	}
	var c vg.Color
	var err error
	if name, ok := strings.CutPrefix(base, "$"); ok {
		value, there := l.colors[name]
		if !there {
			return c, fmt.Errorf("there is no colour %q", base)
		}
		c, err = l.colorAt(value, depth+1)
	} else {
		c, err = vg.Hex(base)
	}
	if err != nil {
		return c, err
	}
	if shift > 0 {
		c = c.Mix(vg.Color{R: 255, G: 255, B: 255, A: c.A}, shift)
	} else if shift < 0 {
		c = c.Mix(vg.Color{A: c.A}, -shift)
	}
	if hasAlpha {
		a, err := strconv.ParseFloat(alpha, 64)
		if err != nil || math.IsNaN(a) {
			return c, fmt.Errorf("colour %q: %q is not an alpha from 0 to 1", expr, alpha)
		}
		c = c.Alpha(a)
	}
	return c, nil
}

// must is color for expressions that Parse has checked.
func (l *look) must(expr string) vg.Color {
	c, _ := l.color(expr)
	return c
}

// paint makes the paint for a box.
func (l *look) paint(p *paintSpec, box vg.Rect) vg.Paint {
	g := p.gradient()
	if g == nil {
		return vg.Solid(l.must(p.Color))
	}
	stops := make([]vg.Stop, len(g.Stops))
	for i, s := range g.Stops {
		stops[i] = vg.Stop{At: s.At, Color: l.must(s.Color)}
	}
	if p.Radial != nil {
		c := vg.Point{X: box.X + g.Center[0]*box.W, Y: box.Y + g.Center[1]*box.H}
		return vg.RadialGradient(c, c, g.Radius*math.Max(box.W, box.H), stops, vg.Pad, vg.Identity)
	}
	sin, cos := math.Sincos(g.Angle * math.Pi / 180)
	half := (math.Abs(cos)*box.W + math.Abs(sin)*box.H) / 2
	cx, cy := box.X+box.W/2, box.Y+box.H/2
	return vg.LinearGradient(vg.Point{X: cx - cos*half, Y: cy - sin*half},
		vg.Point{X: cx + cos*half, Y: cy + sin*half}, stops, vg.Pad, vg.Identity)
}

// checkColors evaluates every colour of the template, under every style.
func (b *bundle) checkColors() error {
	l := &look{colors: maps.Clone(b.Colors)}
	if l.colors == nil {
		l.colors = map[string]string{}
	}
	for _, s := range b.Styles {
		maps.Copy(l.colors, s.Default)
	}
	test := func(where, expr string) error {
		if expr == "" {
			return nil
		}
		if _, err := l.color(expr); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		return nil
	}
	paint := func(where string, p *paintSpec) error {
		if p == nil {
			return nil
		}
		if g := p.gradient(); g != nil {
			if len(g.Stops) == 0 || len(g.Stops) > 100 {
				return fmt.Errorf("%s: a gradient of %d stops", where, len(g.Stops))
			}
			for _, s := range g.Stops {
				if err := test(where, s.Color); err != nil || s.Color == "" {
					return fmt.Errorf("%s: a stop's colour: %w", where, err)
				}
			}
			return nil
		}
		if p.Color == "" {
			return fmt.Errorf("%s: an empty colour", where)
		}
		return test(where, p.Color)
	}
	for name := range l.colors {
		if err := test("colors."+name, "$"+name); err != nil {
			return err
		}
	}
	for _, s := range b.Styles {
		for _, v := range s.Values {
			for name, expr := range v.Set {
				if _, ok := l.colors[name]; !ok {
					return fmt.Errorf("styles.%s.%s sets %q, which has no default", s.Field, v.Key, name)
				}
				if err := test("styles."+s.Field+"."+v.Key, expr); err != nil {
					return err
				}
			}
		}
	}
	for name, set := range b.Icons {
		for _, ic := range append(append([]*icon{}, set.Symbols...), set.Default) {
			if ic == nil {
				continue
			}
			where := "icons." + name + "." + ic.Key
			for _, err := range []error{paint(where, ic.Fill), test(where, ic.Stroke), test(where, ic.Color)} {
				if err != nil {
					return err
				}
			}
		}
	}
	var visit func(layers []*layer) error
	visit = func(layers []*layer) error {
		for _, y := range layers {
			where := "layer " + y.Kind + " " + y.Name
			errs := []error{paint(where, y.Fill), paint(where, y.Stroke), test(where, y.Color)}
			if y.Shadow != nil {
				errs = append(errs, test(where, y.Shadow.Color))
			}
			if y.Outline != nil {
				errs = append(errs, test(where, y.Outline.Color))
			}
			for _, p := range y.Palette {
				errs = append(errs, test(where, p))
			}
			for _, p := range y.Parts {
				errs = append(errs, test(where, p.Color), test(where, p.Divider))
			}
			errs = append(errs, visit(y.Layers))
			for _, err := range errs {
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	return visit(b.Layers)
}
