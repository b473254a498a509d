package render

import (
	"math"
	"strconv"

	"platform-kit/render/internal/vg"
)

// scene is procedural art in the making. Lengths are in parts of its height,
// so a scene looks the same at every size.
type scene struct {
	canvas *vg.Canvas
	w, h   float64 // h is 1
	m      vg.Matrix
	state  uint64
	deep   vg.Color // shadows
	mid    vg.Color
	light  vg.Color
	accent vg.Color
}

// procedural draws art for a card that has none. The id and the seed decide
// the motif and its form; the palette, from dark to light and then an accent,
// the colours.
func procedural(id string, seed int64, w, h int, palette []vg.Color) *vg.Canvas {
	s := &scene{
		canvas: vg.NewCanvas(w, h), w: float64(w) / float64(h), h: 1,
		m: vg.Scale(float64(h), float64(h)), state: hash(id, strconv.FormatInt(seed, 10)),
	}
	s.colors(palette)
	motifs := []func(*scene){
		(*scene).landscape, (*scene).sigil, (*scene).waves, (*scene).crystals, (*scene).orbits, (*scene).spires,
	}
	motifs[s.next()%uint64(len(motifs))](s)
	s.vignette()
	return s.canvas
}

// next returns the next of a sequence of random numbers (SplitMix64).
func (s *scene) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *scene) unit() float64 { return float64(s.next()>>11) / (1 << 53) }

func (s *scene) between(a, b float64) float64 { return a + (b-a)*s.unit() }

func (s *scene) count(a, b int) int { return a + int(s.next()%uint64(b-a+1)) }

// colors takes the palette, turned a little so that no two cards are alike.
func (s *scene) colors(palette []vg.Color) {
	for len(palette) < 4 {
		hue := s.between(0, 360)
		palette = []vg.Color{vg.HSL(hue, 0.45, 0.14), vg.HSL(hue+15, 0.45, 0.4), vg.HSL(hue+40, 0.6, 0.8), vg.HSL(hue+170, 0.7, 0.6)}
	}
	turn := s.between(-14, 14)
	shift := func(c vg.Color, by float64) vg.Color {
		h, sat, l := c.ToHSL()
		return vg.HSL(h+by, min(sat*1.05, 1), l)
	}
	s.deep, s.mid = shift(palette[0], turn), shift(palette[1], turn)
	s.light, s.accent = shift(palette[2], turn*1.6), shift(palette[3], -turn)
}

func (s *scene) fill(p *vg.Path, paint vg.Paint, opacity float64) {
	s.canvas.Fill(p, s.m, vg.NonZero, paint, nil, opacity)
}

func (s *scene) line(p *vg.Path, width float64, c vg.Color, opacity float64) {
	s.canvas.Line(p, s.m, vg.Stroke{Width: width, Join: vg.RoundJoin, Cap: vg.RoundCap}, vg.Solid(c), nil, opacity)
}

func (s *scene) ground(paint vg.Paint) {
	s.canvas.Cover(paint)
}

// down is a gradient from y0 to y1.
func (s *scene) down(y0, y1 float64, stops ...vg.Stop) vg.Paint {
	return vg.LinearGradient(vg.Point{Y: y0}, vg.Point{Y: y1}, stops, vg.Pad, s.m)
}

// around is a gradient from a point outwards.
func (s *scene) around(x, y, r float64, stops ...vg.Stop) vg.Paint {
	c := vg.Point{X: x, Y: y}
	return vg.RadialGradient(c, c, r, stops, vg.Pad, s.m)
}

// glow lightens the surroundings of a point.
func (s *scene) glow(x, y, r float64, c vg.Color, strength float64) {
	p := &vg.Path{}
	p.Ellipse(x, y, r, r)
	s.fill(p, s.around(x, y, r, vg.Stop{At: 0, Color: c.Alpha(strength)}, vg.Stop{At: 0.35, Color: c.Alpha(strength * 0.45)},
		vg.Stop{At: 1, Color: c.Alpha(0)}), 1)
}

// disc is a filled circle.
func (s *scene) disc(x, y, r float64, c vg.Color, opacity float64) {
	p := &vg.Path{}
	p.Ellipse(x, y, r, r)
	s.fill(p, vg.Solid(c), opacity)
}

// stars sprinkles points of light above a height.
func (s *scene) stars(n int, below float64) {
	for range n {
		r := 0.0012 + 0.0034*math.Pow(s.unit(), 4)
		s.disc(s.between(0, s.w), s.between(0, below), r, s.light, s.between(0.35, 0.95))
	}
}

// vignette darkens the corners.
func (s *scene) vignette() {
	r := math.Hypot(s.w, 1) / 2
	s.ground(s.around(s.w/2, 0.5, r, vg.Stop{At: 0.55, Color: s.deep.Alpha(0)}, vg.Stop{At: 1, Color: s.deep.Mix(vg.Color{A: 255}, 0.4).Alpha(0.55)}))
}

// noise is a smooth random function of one variable.
type noise struct {
	phase, freq, amp [6]float64
}

func (s *scene) noise(base, rough float64) *noise {
	n := &noise{}
	amp, freq := 1.0, base
	for i := range n.phase {
		n.phase[i], n.freq[i], n.amp[i] = s.between(0, 2*math.Pi), freq*s.between(0.85, 1.15), amp
		amp *= rough
		freq *= 2.1
	}
	return n
}

func (n *noise) at(x float64) float64 {
	sum, total := 0.0, 0.0
	for i := range n.phase {
		sum += n.amp[i] * math.Sin(n.freq[i]*x+n.phase[i])
		total += n.amp[i]
	}
	return sum / total
}

// ridged has sharp crests, like mountains.
func (n *noise) ridged(x float64) float64 {
	sum, total := 0.0, 0.0
	for i := range n.phase {
		sum += n.amp[i] * (1 - 2*math.Abs(math.Sin(0.5*n.freq[i]*x+n.phase[i])))
		total += n.amp[i]
	}
	return sum / total
}
