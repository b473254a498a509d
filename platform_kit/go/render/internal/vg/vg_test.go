package vg

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

func path(t testing.TB, d string) *Path {
	t.Helper()
	p, err := ParsePath(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// area is the coverage of all pixels, in pixels.
func area(m *Mask) float64 {
	sum := 0
	for _, v := range m.Pix {
		sum += int(v)
	}
	return float64(sum) / 255
}

func TestCoverageOfKnownShapes(t *testing.T) {
	for name, c := range map[string]struct {
		d     string
		rule  Rule
		want  float64
		slack float64
	}{
		"whole pixels":       {"M10 10H30V20H10Z", NonZero, 200, 0},
		"parts of pixels":    {"M10.25 10.5H30.75V20H10.25Z", NonZero, 20.5 * 9.5, 0},
		"triangle":           {"M10 10L50 10L10 50Z", NonZero, 800, 0},
		"other direction":    {"M10 10L10 50L50 10Z", NonZero, 800, 0},
		"open is closed":     {"M10 10L50 10L10 50", NonZero, 800, 0},
		"overlap, non zero":  {"M10 10H30V30H10Z M20 10H40V30H20Z", NonZero, 600, 0},
		"overlap, even odd":  {"M10 10H30V30H10Z M20 10H40V30H20Z", EvenOdd, 400, 0},
		"hole":               {"M10 10H40V40H10Z M20 20V30H30V20Z", NonZero, 800, 0},
		"no hole":            {"M10 10H40V40H10Z M20 20H30V30H20Z", NonZero, 900, 0},
		"cut by the canvas":  {"M-100 -100H20V20H-100Z", NonZero, 400, 0},
		"outside":            {"M-30 10H-10V20H-30Z", NonZero, 0, 0},
		"circle":             {"M90 50A40 40 0 1 1 10 50A40 40 0 1 1 90 50Z", NonZero, math.Pi * 1600, 0},
		"thinner than a row": {"M10 10.3H60V10.4H10Z", NonZero, 5, 2},
	} {
		m := FillMask(path(t, c.d), Identity, c.rule, 100, 100)
		if got := area(m); math.Abs(got-c.want) > 0.01*c.want+0.5+c.slack {
			t.Errorf("%s: %.1f pixels are covered, wanted %.1f", name, got, c.want)
		}
	}
	m := FillMask(path(t, "M10.25 10.5H30.75V20H10.25Z"), Identity, NonZero, 100, 100)
	for _, c := range []struct {
		x, y int
		want uint8
	}{{15, 15, 255}, {10, 15, 191}, {30, 15, 191}, {15, 10, 128}, {10, 10, 96}, {9, 15, 0}, {15, 20, 0}} {
		if got := m.At(c.x, c.y); math.Abs(float64(got)-float64(c.want)) > 1 {
			t.Errorf("coverage at (%d, %d) is %d, wanted %d", c.x, c.y, got, c.want)
		}
	}
}

// Anything may be drawn, and what is drawn twice is the same twice.
func TestAnyPathStaysInsideItsBoxAndIsDeterministic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, 0, 1e7}
	number := func() float64 {
		if r.IntN(40) == 0 {
			return odd[r.IntN(len(odd))]
		}
		return r.Float64()*160 - 30
	}
	for range 15 {
		p := &Path{}
		p.MoveTo(number(), number())
		for range r.IntN(30) {
			switch r.IntN(5) {
			case 0:
				p.MoveTo(number(), number())
			case 1:
				p.LineTo(number(), number())
			case 2:
				p.QuadTo(number(), number(), number(), number())
			case 3:
				p.CubeTo(number(), number(), number(), number(), number(), number())
			case 4:
				p.Close()
			}
		}
		s := Stroke{Width: math.Abs(number()), Join: Join(r.IntN(3)), Cap: Cap(r.IntN(3))}
		for _, f := range []func() *Mask{
			func() *Mask { return FillMask(p, Identity, NonZero, 100, 90) },
			func() *Mask { return StrokeMask(p, Identity, s, 100, 90) },
		} {
			a, b := f(), f()
			if a.X < 0 || a.Y < 0 || a.X+a.W > 100 || a.Y+a.H > 90 || len(a.Pix) != a.W*a.H {
				t.Fatalf("a mask of %d x %d at (%d, %d)", a.W, a.H, a.X, a.Y)
			}
			if string(a.Pix) != string(b.Pix) {
				t.Fatal("the same path is drawn differently")
			}
		}
	}
}

// A line along a canvas's edge must not bleed to the other edge, and a row must
// end with what began in it.
func TestCoverageEndsWithItsShape(t *testing.T) {
	m := FillMask(path(t, "M50 0L100 50L50 100L0 50Z"), Identity, NonZero, 100, 100)
	for y := range 100 {
		half := math.Min(float64(y)+0.5, 99.5-float64(y))
		for x := range 100 {
			d := math.Abs(float64(x)+0.5-50) - half // below 0 inside
			got := m.At(x, y)
			if d < -1 && got != 255 || d > 1 && got != 0 {
				t.Fatalf("coverage at (%d, %d) is %d, %.1f from the edge", x, y, got, d)
			}
		}
	}
}

func TestStrokes(t *testing.T) {
	corner := "M20 80V20H80" // with lines 20 wide
	square, quarter := 100.0, math.Pi*100/4
	for name, c := range map[string]struct {
		d    string
		s    Stroke
		want float64
	}{
		"butt":         {"M20 50H80", Stroke{Width: 10}, 600},
		"square":       {"M20 50H80", Stroke{Width: 10, Cap: SquareCap}, 700},
		"round":        {"M20 50H80", Stroke{Width: 10, Cap: RoundCap}, 600 + math.Pi*25},
		"dot":          {"M50 50h0", Stroke{Width: 20, Cap: RoundCap}, math.Pi * 100},
		"miter":        {corner, Stroke{Width: 20}, 2300 + square},
		"bevel":        {corner, Stroke{Width: 20, Join: BevelJoin}, 2300 + square/2},
		"round join":   {corner, Stroke{Width: 20, Join: RoundJoin}, 2300 + quarter},
		"past limit":   {corner, Stroke{Width: 20, MiterLimit: 1.2}, 2300 + square/2},
		"closed":       {"M20 20H80V80H20Z", Stroke{Width: 10}, 70*70 - 50*50},
		"circle":       {"M80 50A30 30 0 1 1 20 50A30 30 0 1 1 80 50Z", Stroke{Width: 10}, math.Pi * (35*35 - 25*25)},
		"broad circle": {"M80 50A30 30 0 1 1 20 50A30 30 0 1 1 80 50Z", Stroke{Width: 40}, math.Pi * (50*50 - 10*10)},
		"curve":        {"M20 50Q50 50 80 50", Stroke{Width: 10}, 600},
		"dashes":       {"M20 50H80", Stroke{Width: 10, Dash: []float64{10, 10}}, 300},
		"odd dashes":   {"M20 50H80", Stroke{Width: 10, Dash: []float64{10}}, 300},
		"dash offset":  {"M20 50H80", Stroke{Width: 10, Dash: []float64{20, 10}, DashOffset: 20}, 400},
		"no width":     {"M20 50H80", Stroke{}, 0},
	} {
		m := StrokeMask(path(t, c.d), Identity, c.s, 100, 100)
		if got := area(m); math.Abs(got-c.want) > 0.012*c.want+0.5 {
			t.Errorf("%s: %.1f pixels are covered, wanted %.1f", name, got, c.want)
		}
	}
}

// A thick line along a curve is whole: no gaps between its parts, and a hairline
// beside it is not covered.
func TestStrokeOfACurveIsEvenlyWide(t *testing.T) {
	p := &Path{}
	p.Ellipse(100, 100, 70, 70)
	for _, join := range []Join{MiterJoin, RoundJoin, BevelJoin} {
		m := StrokeMask(p, Identity, Stroke{Width: 24, Join: join}, 200, 200)
		for y := range 200 {
			for x := range 200 {
				d := math.Abs(math.Hypot(float64(x)+0.5-100, float64(y)+0.5-100)-70) - 12
				if got := m.At(x, y); d < -1 && got != 255 || d > 1 && got != 0 {
					t.Fatalf("join %d: coverage at (%d, %d) is %d, %.2f from the edge", join, x, y, got, d)
				}
			}
		}
	}
}

// Every blend of every valid pixel is exact and in range: one step too much in
// red would come out as none, which shows as lines in bright areas.
func TestBlendingNeverOverflows(t *testing.T) {
	for alpha := range 256 {
		for k := range 256 {
			s := pixel(uint8(alpha), uint8(alpha/2), 0, uint8(alpha)).scale(uint32(k))
			want := (alpha*k*2 + 255) / 510 // rounded
			if int(s.alpha()) != want || int(s&255) != want {
				t.Fatalf("%d x %d/255 is %d, wanted %d", alpha, k, s.alpha(), want)
			}
			white := pixel(255, 255, 255, 255).over(s)
			if white.alpha() != 255 || white&255 != 255 {
				t.Fatalf("red %d of alpha %d on white is %#x", s&255, s.alpha(), uint32(white))
			}
			for _, under := range []uint8{0, 1, 127, 128, 254, 255} {
				got := pixel(under, 0, under, 255).over(s)
				top, low := uint32(s&255), uint32(under)
				exact := float64(top) + float64(low)*float64(255-s.alpha())/255
				if math.Abs(float64(got&255)-exact) > 0.5 || got.alpha() != 255 {
					t.Fatalf("%d (alpha %d) over %d is %d, wanted %.1f", top, s.alpha(), low, got&255, exact)
				}
			}
		}
	}
}

// What is painted lies between the colour below and the paint's own colours.
func TestPaintStaysBetweenItsColours(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shade := func() Color {
		return Color{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256))}
	}
	for range 60 {
		ground, a, b := shade(), shade(), shade()
		ground.A = 255
		b.R, b.G, b.B = a.R, a.G, a.B // one colour, its alpha running out
		c := NewCanvas(40, 40)
		c.Cover(Solid(ground))
		stops := []Stop{{0, a}, {1, b}}
		var paint Paint = LinearGradient(Point{0, 0}, Point{0, 40}, stops, Pad, Identity)
		if r.IntN(2) == 0 {
			paint = RadialGradient(Point{18, 15}, Point{20, 20}, 25, stops, Pad, Identity)
		}
		p := &Path{}
		p.Ellipse(20, 20, 18, 17)
		c.Fill(p, Identity, NonZero, paint, nil, r.Float64())
		between := func(v, x, y uint8) bool { return int(v) >= int(min(x, y))-2 && int(v) <= int(max(x, y))+2 }
		for y := range 40 {
			for x := range 40 {
				got := c.Color(x, y)
				if got.A != 255 || !between(got.R, ground.R, a.R) || !between(got.G, ground.G, a.G) || !between(got.B, ground.B, a.B) {
					t.Fatalf("%v on %v gives %v at (%d, %d)", a, ground, got, x, y)
				}
			}
		}
	}
}

func TestGradients(t *testing.T) {
	red, blue := Color{255, 0, 0, 255}, Color{0, 0, 255, 255}
	stops := []Stop{{0, red}, {1, blue}}
	row := func(p Paint) []premul {
		out := make([]premul, 100)
		p.row(0, 0, out)
		return out
	}
	level := func(p premul) (r, b int) { return int(p & 255), int(p >> 16 & 255) }
	linear := row(LinearGradient(Point{20, 0}, Point{80, 0}, stops, Pad, Identity))
	for i, p := range linear {
		r, b := level(p)
		if i < 20 && (r != 255 || b != 0) || i >= 80 && (r != 0 || b != 255) {
			t.Errorf("padding at %d is (%d, %d)", i, r, b)
		}
		want := 255 * (1 - (float64(i)+0.5-20)/60)
		if i >= 20 && i < 80 && math.Abs(float64(r)-want) > 1.5 {
			t.Errorf("red at %d is %d, wanted %.1f", i, r, want)
		}
		if i > 0 {
			if before, _ := level(linear[i-1]); r > before {
				t.Errorf("red goes up at %d", i)
			}
		}
	}
	repeat := row(LinearGradient(Point{0, 0}, Point{20, 0}, stops, Repeat, Identity))
	reflect := row(LinearGradient(Point{0, 0}, Point{20, 0}, stops, Reflect, Identity))
	for i := range 80 {
		if repeat[i] != repeat[i+20] {
			t.Errorf("repeat differs at %d", i)
		}
		if i < 60 && reflect[i] != reflect[i+40] {
			t.Errorf("reflect differs at %d", i)
		}
	}
	if r, _ := level(repeat[19]); r > 12 {
		t.Errorf("repeat ends with red %d", r)
	}
	if r, _ := level(reflect[39]); r < 243 {
		t.Errorf("reflect comes back to red %d", r)
	}
	radial := row(RadialGradient(Point{50, 0.5}, Point{50, 0.5}, 30, stops, Pad, Identity))
	for i := range 50 {
		if radial[i] != radial[99-i] {
			t.Errorf("radial is not symmetric at %d", i)
		}
	}
	if r, _ := level(radial[50]); r < 250 {
		t.Errorf("radial begins with red %d", r)
	}
	if r, b := level(radial[10]); r != 0 || b != 255 {
		t.Errorf("radial ends with (%d, %d)", r, b)
	}
	for name, p := range map[string]Paint{
		"no stops":     LinearGradient(Point{}, Point{1, 0}, nil, Pad, Identity),
		"no length":    LinearGradient(Point{5, 5}, Point{5, 5}, stops, Pad, Identity),
		"no radius":    RadialGradient(Point{}, Point{}, 0, stops, Pad, Identity),
		"flat matrix":  LinearGradient(Point{}, Point{1, 0}, stops, Pad, Scale(0, 1)),
		"focus beyond": RadialGradient(Point{90, 0}, Point{}, 10, stops, Pad, Identity),
	} {
		for _, v := range row(p) {
			if r, b := level(v); r+b > 257 || int(v.alpha()) < max(r, b) {
				t.Errorf("%s: (%d, %d) of alpha %d", name, r, b, v.alpha())
			}
		}
	}
}

func TestClip(t *testing.T) {
	clip := FillMask(path(t, "M20 20H60V60H20Z"), Identity, NonZero, 100, 100)
	for name, paint := range map[string]Paint{
		"solid":    Solid{255, 0, 0, 255},
		"gradient": LinearGradient(Point{0, 0}, Point{100, 0}, []Stop{{0, Color{255, 0, 0, 255}}, {1, Color{0, 255, 0, 255}}}, Pad, Identity),
	} {
		for shape, d := range map[string]string{"larger": "M0 0H100V100H0Z", "beside": "M40 0H100V100H40Z"} {
			c, whole := NewCanvas(100, 100), NewCanvas(100, 100)
			c.Fill(path(t, d), Identity, NonZero, paint, clip, 1)
			whole.Fill(path(t, d), Identity, NonZero, paint, nil, 1)
			for y := range 100 {
				for x := range 100 {
					inside := x >= 20 && x < 60 && y >= 20 && y < 60
					if got := c.at(x, y); inside && got != whole.at(x, y) || !inside && got != 0 {
						t.Fatalf("%s, %s: (%d, %d) is %#x", name, shape, x, y, uint32(got))
					}
				}
			}
		}
	}
	c := NewCanvas(100, 100)
	c.Fill(path(t, "M0 0H100V100H0Z"), Identity, NonZero, Solid{A: 255}, &Mask{}, 1)
	if !bytes.Equal(c.Pix, NewCanvas(100, 100).Pix) {
		t.Error("an empty clip lets something through")
	}
}

func TestBlur(t *testing.T) {
	m := FillMask(path(t, "M40 40H60V60H40Z"), Identity, NonZero, 100, 100)
	for _, radius := range []float64{1, 2, 5, 12} {
		b := m.Blur(radius)
		if got := area(b); math.Abs(got-400) > 12 {
			t.Errorf("radius %g: %.1f pixels are covered, wanted 400", radius, got)
		}
		middle := b.At(50, 50)
		for d := range 30 {
			right, left, below := int(b.At(50+d, 50)), int(b.At(49-d, 50)), int(b.At(50, 50+d))
			if right-left > 1 || left-right > 1 || right-below > 1 || below-right > 1 { // rows are rounded before columns
				t.Fatalf("radius %g: not symmetric %d from the middle", radius, d)
			}
			if b.At(50+d, 50) > middle {
				t.Errorf("radius %g: brighter %d from the middle", radius, d)
			}
			middle = b.At(50+d, 50)
		}
		if edge := b.At(60, 50); edge < 90 || edge > 130 {
			t.Errorf("radius %g: coverage at the edge is %d", radius, edge)
		}
	}
	if m.Blur(0.2) != m {
		t.Error("no blur changes something")
	}
	c := NewCanvas(60, 60)
	c.Fill(path(t, "M20 20H40V40H20Z"), Identity, NonZero, Solid{200, 100, 0, 128}, nil, 1)
	c.BlurCanvas(4)
	for i := 0; i < len(c.Pix); i += 4 {
		if a := c.Pix[i+3]; c.Pix[i] > a || c.Pix[i+1] > a || c.Pix[i+2] != 0 {
			t.Fatalf("pixel %d is %v: a colour above its alpha", i/4, c.Pix[i:i+4])
		}
	}
}

// The box of a curve is the curve's, not that of its control points.
func TestBounds(t *testing.T) {
	for d, want := range map[string]Rect{
		"M0 0C0 -40 80 -40 80 0":     {0, -30, 80, 30},
		"M0 0Q50 100 100 0":          {0, 0, 100, 50},
		"M10 20L30 5":                {10, 5, 20, 15},
		"M0 0C10 0 20 0 30 0":        {0, 0, 30, 0},
		"M0 0C60 50 -30 50 30 0":     {0, 0, 30, 37.5},
		"M5 5H10V10ZM20 0Q25 5 30 0": {5, 0, 25, 10},
	} {
		got := path(t, d).Bounds()
		for _, pair := range [][2]float64{{got.X, want.X}, {got.Y, want.Y}, {got.W, want.W}, {got.H, want.H}} {
			if math.Abs(pair[0]-pair[1]) > 1e-6 {
				t.Errorf("%s: %v, wanted %v", d, got, want)
				break
			}
		}
	}
	p := &Path{}
	p.Ellipse(50, 50, 30, 20)
	if b := p.Bounds(); math.Abs(b.X-20) > 1e-6 || math.Abs(b.H-40) > 1e-6 {
		t.Errorf("an ellipse's box is %v", b)
	}
}

func TestDrawAndPaintAgree(t *testing.T) {
	src := NewCanvas(30, 30)
	src.Fill(path(t, "M5 5H25V25H5Z"), Identity, NonZero, Solid{250, 120, 30, 180}, nil, 1)
	for _, at := range [][2]int{{0, 0}, {-7, 3}, {20, -9}, {31, 31}} {
		drawn, painted := NewCanvas(40, 40), NewCanvas(40, 40)
		for _, c := range []*Canvas{drawn, painted} {
			c.Cover(Solid{10, 200, 60, 255})
		}
		drawn.Draw(src, at[0], at[1], nil, 1)
		p := &Path{}
		p.Rectangle(Rect{0, 0, 40, 40}, 0, 0)
		painted.Fill(p, Identity, NonZero, NewPicture(src, Translate(float64(at[0]), float64(at[1])), false), nil, 1)
		if string(drawn.Pix) != string(painted.Pix) {
			t.Errorf("a picture at %v is drawn and painted differently", at)
		}
	}
}

// A sprite looks like the canvas it was made of, put on top.
func TestSprite(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	random := func() *Canvas {
		c := NewCanvas(33, 20)
		for i := range 33 * 20 {
			a := []uint8{0, 255, uint8(r.Uint32())}[r.IntN(3)]
			if i%33 > 20 {
				a = 255
			}
			p := Color{uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), a}.premul()
			binary.LittleEndian.PutUint32(c.Pix[4*i:], uint32(p))
		}
		return c
	}
	for range 20 {
		top, a := random(), random()
		b := a.Clone()
		s := NewSprite(top)
		a.Stamp(s)
		for i := 0; i < len(top.Pix); i += 4 {
			p := premul(binary.LittleEndian.Uint32(b.Pix[i:])).over(premul(binary.LittleEndian.Uint32(top.Pix[i:])))
			binary.LittleEndian.PutUint32(b.Pix[i:], uint32(p))
		}
		if !bytes.Equal(a.Pix, b.Pix) {
			t.Fatal("not what is seen through the canvas itself")
		}
		if s.Covers() {
			t.Error("something transparent hides everything")
		}
	}
	whole := NewCanvas(5, 5)
	whole.Cover(Solid{G: 9, A: 255})
	if !NewSprite(whole).Covers() {
		t.Error("an opaque sprite hides nothing")
	}
}

func TestScale(t *testing.T) {
	for k := range uint32(256) {
		for v := range uint32(256) {
			want := (v*k + 127) / 255
			p := pixel(uint8(v), uint8(255-v), uint8(v), 255)
			other := ((255-v)*k + 127) / 255
			all := pixel(uint8(want), uint8(other), uint8(want), uint8(k))
			if got := p.scale(k); got != all {
				t.Fatalf("%#x times %d of 255 is %#x", p, k, got)
			}
			if got := scale2(uint64(p)|uint64(p)<<32, k); got != uint64(all)|uint64(all)<<32 {
				t.Fatalf("%#x twice, times %d of 255, is %#x", p, k, got)
			}
		}
	}
}
