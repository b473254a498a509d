package render

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"platform-kit/render/internal/cache"
	"platform-kit/render/internal/name"
	"platform-kit/render/internal/pngenc"
	"platform-kit/render/internal/vg"
)

// artFile makes a picture of a type, a different one for each number.
func artFile(t testing.TB, kind string, number int) []byte {
	t.Helper()
	if kind == "svg" {
		return fmt.Appendf(nil, `<svg viewBox="0 0 90 60"><rect width="90" height="60" fill="#%06x"/>`+
			`<circle cx="%d" cy="30" r="20" fill="#fff" opacity=".7"/><text x="5" y="20">%d</text></svg>`, number*0x3579b, number%90, number)
	}
	img := image.NewRGBA(image.Rect(0, 0, 61, 47))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*(number+3)) | uint8(255*(i%4/3))
	}
	var out bytes.Buffer
	var err error
	if kind == "jpeg" {
		err = jpeg.Encode(&out, img, nil)
	} else {
		if number%3 == 0 { // with holes
			img.SetRGBA(9, 9, color.RGBA{})
		}
		err = png.Encode(&out, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// everyLayer is a template with all kinds of layers, static and not, whose colours depend on two fields.
func everyLayer(t testing.TB, s store, accent string) []byte {
	t.Helper()
	imageDigest := s.add(t, artFile(t, "png", 2))
	box := func(kind string, box ...int) map[string]any { return map[string]any{"kind": kind, "box": box} }
	with := func(l map[string]any, more ...any) map[string]any {
		for i := 0; i < len(more); i += 2 {
			l[more[i].(string)] = more[i+1]
		}
		return l
	}
	when := []any{map[string]any{"field": "text"}}
	text := func(field, font string, b ...int) map[string]any {
		return with(box("text", b...), "name", field, "parts", []any{map[string]any{"text": "{" + field + "}"}}, "font", font, "size", 20,
			"min_size", 8, "color", "$ink", "line_height", 1.1, "symbols", "cost")
	}
	palette := []string{"#102030", "$tint", "#d0e0f0", "#ff8800"}
	bundle := map[string]any{
		"format": 1, "name": "every", "width": 201, "height": 200, "dpi": 300,
		"fonts":  map[string]any{"body": map[string]any{"regular": s.font(t, "Alegreya-Regular.ttf")}},
		"colors": map[string]string{"ink": accent},
		"styles": []any{
			map[string]any{"field": "rarity", "default": map[string]string{"gem": "#808080"}, "values": []any{
				map[string]any{"key": "rare", "set": map[string]string{"gem": "#ffd700"}},
				map[string]any{"key": "epic", "set": map[string]string{"gem": "#aa00ff"}}}},
			map[string]any{"field": "type", "default": map[string]string{"tint": "#336699"}, "values": []any{
				map[string]any{"key": "spell", "set": map[string]string{"tint": "#993366"}}}},
		},
		"icons": map[string]any{"cost": map[string]any{
			"symbols": []any{
				map[string]any{"key": "R", "shape": "circle", "fill": "$gem", "path": "M0 0H100V100Z", "color": "#ffffff"},
				map[string]any{"key": "G", "shape": "square", "fill": "$tint", "image": map[string]any{"digest": imageDigest, "type": "png"}}},
			"default": map[string]any{"shape": "circle", "fill": "#dddddd", "stroke": "$gem", "color": "#000000"}}},
		"layers": []any{
			with(box("rect", 0, 0, 201, 200), "fill", map[string]any{"linear": map[string]any{"angle": 30, "stops": []any{
				map[string]any{"at": 0, "color": "$tint"}, map[string]any{"at": 1, "color": "$gem"}}}}),
			with(box("art", 10, 10, 120, 80), "fit", "cover", "radius", 7, "position", []float64{0.5, 0.5}, "palette", palette),
			map[string]any{"kind": "group", "when": when, "opacity": 0.8, "layers": []any{
				with(box("rect", 8, 95, 180, 50), "radius", 5, "fill", "#ffffff", "shadow", map[string]any{"dx": 1, "dy": 2, "blur": 4, "color": "$tint"}),
				with(box("ellipse", 150, 20, 30, 30), "stroke", "$gem", "stroke_width", 3)}},
			map[string]any{"kind": "group", "opacity": 0.6, "layers": []any{ // not static, for its text
				with(box("rect", 120, 120, 60, 20), "radius", 3, "fill", map[string]any{"linear": map[string]any{"angle": 90, "stops": []any{
					map[string]any{"at": 0, "color": "$gem"}, map[string]any{"at": 1, "color": "$tint"}}}}),
				with(box("image", 90, 110, 40, 40), "fit", "cover", "image", map[string]any{"digest": imageDigest, "type": "png"}),
				with(text("rarity", "body", 122, 122, 60, 16), "color", "$gem", "outline", map[string]any{"color": "$tint", "width": 1})}},
			with(box("image", 140, 60, 40, 30), "fit", "contain", "image", map[string]any{"digest": imageDigest, "type": "png"}),
			with(box("icons", 100, 4, 95, 16), "name", "cost", "field", "cost", "set", "cost", "split", "cost", "size", 14, "gap", 0.1, "align", "right"),
			text("name", "body", 12, 2, 100, 26), text("text", "body", 12, 98, 170, 44),
			with(box("art", 150, 100, 33, 41), "fit", "contain", "position", []float64{0, 1}, "opacity", 0.5, "palette", palette),
		},
	}
	data, err := json.Marshal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A renderer that has drawn other cards draws the same bytes as a new one, whatever changes from card to card.
func TestNothingKeptIsOutOfDate(t *testing.T) {
	s := store{}
	warm := newKept()
	// Small enough that things are dropped and made again all the time.
	warm.sheets = cache.New[sheetKey, *vg.Sprite](400_000)
	warm.pictures = cache.New[pictureKey, *packed](60_000)
	warm.masks = cache.New[maskKey, *vg.Mask](20_000)
	warm.pieces = cache.New[name.Name, *piece](20_000)
	warm.png = pngenc.New(200_000)
	var bundles [][]byte
	var templates []*Template
	for _, accent := range []string{"#000000", "#7f0000"} {
		bundle := everyLayer(t, s, accent)
		tpl, err := parseWith(bundle, s.fetch, warm)
		if err != nil {
			t.Fatal(err)
		}
		bundles, templates = append(bundles, bundle), append(templates, tpl)
	}
	r := rand.New(rand.NewPCG(7, 8))
	choose := func(from ...string) string { return from[r.IntN(len(from))] }
	c := Card{ID: "a", Fields: map[string]any{"name": "Heron"}}
	for range 200 {
		switch r.IntN(6) {
		case 0:
			c.Fields["rarity"] = choose("", "common", "rare", "epic")
		case 1:
			c.Fields["type"] = choose("", "spell", "beast")
		case 2:
			c.Fields["name"] = choose("Heron", "Fox", "The Long Night of Herons", "Нет шрифта, 龍", strings.Repeat("Far too long. ", 30))
		case 3:
			c.Fields["text"] = choose("", "Draw {R} a card.", "Tap: {G}{R}.", "Fly high.")
		case 4:
			c.Fields["cost"] = choose("", "2RG", "{R}{R}", "11")
		case 5:
			c.ArtType = choose("", "svg", "png", "jpeg")
			c.Art = nil
			if c.ArtType != "" {
				c.Art = artFile(t, c.ArtType, r.IntN(5))
			}
			c.Seed = int64(r.IntN(3))
		}
		which := r.IntN(len(templates))
		fresh, err := parseWith(bundles[which], s.fetch, newKept())
		if err != nil {
			t.Fatal(err)
		}
		got, want := render(t, templates[which], c), render(t, fresh, c)
		if !bytes.Equal(got.PNG, want.PNG) || !slices.Equal(got.Warnings, want.Warnings) {
			t.Fatalf("not what a new renderer draws: template %d, fields %v, art %s", which, c.Fields, c.ArtType)
		}
	}
	for name, part := range map[string]struct{ weight, limit int }{
		"sheets": {warm.sheets.Weight(), 400_000}, "pictures": {warm.pictures.Weight(), 60_000}, "masks": {warm.masks.Weight(), 20_000},
		"pieces": {warm.pieces.Weight(), 20_000}, "bands": {warm.png.Remembered(), 200_000},
	} {
		if part.weight == 0 || part.weight > part.limit {
			t.Errorf("%s: %d bytes are kept, the budget is %d", name, part.weight, part.limit)
		}
	}
}

// Cards drawn at the same time, with things kept that come and go, do not disturb each other.
func TestKeptByManyAtOnce(t *testing.T) {
	s := store{}
	bundle := everyLayer(t, s, "#000000")
	warm := newKept()
	warm.pictures = cache.New[pictureKey, *packed](30_000)
	tpl, err := parseWith(bundle, s.fetch, warm)
	if err != nil {
		t.Fatal(err)
	}
	var cards []Card
	var want [][]byte
	for i, kind := range []string{"svg", "png", "jpeg", ""} {
		for k := range 3 {
			c := Card{ID: fmt.Sprint(i, k), Fields: map[string]any{"name": fmt.Sprint("Name ", k), "rarity": "rare", "cost": "2RG"}, ArtType: kind}
			if kind != "" {
				c.Art = artFile(t, kind, k)
			}
			fresh, err := parseWith(bundle, s.fetch, newKept())
			if err != nil {
				t.Fatal(err)
			}
			cards, want = append(cards, c), append(want, render(t, fresh, c).PNG)
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 30 {
				i := r.IntN(len(cards))
				out, err := tpl.Render(t.Context(), cards[i])
				if err != nil || !bytes.Equal(out.PNG, want[i]) {
					t.Errorf("card %s: other bytes than alone (%v)", cards[i].ID, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The digest of art is trusted, and only saves working it out.
func TestArtDigestIsTheArts(t *testing.T) {
	s := store{}
	tpl, err := parseWith(everyLayer(t, s, "#000000"), s.fetch, newKept())
	if err != nil {
		t.Fatal(err)
	}
	c := Card{ID: "a", Fields: map[string]any{}, Art: artFile(t, "svg", 1), ArtType: "svg"}
	plain := render(t, tpl, c).PNG
	kept := tpl.kept.pictures.Weight()
	c.ArtDigest = s.add(t, c.Art)
	if !bytes.Equal(render(t, tpl, c).PNG, plain) || tpl.kept.pictures.Weight() != kept {
		t.Error("the same art is another picture with its digest given")
	}
}

// Every strip on which an element leaves something has its name, and no other has.
func TestElementsSignWhatTheyDraw(t *testing.T) {
	m := &vg.Mask{X: 1, Y: 5, W: 2, H: 4, Pix: bytes.Repeat([]uint8{255}, 8)}
	drawn := vg.NewCanvas(4, 16)
	drawn.Paint(m, vg.Solid{A: 255}, nil, 1)
	p := &piece{}
	p.add(dab{mask: m, dy: 2, paint: vg.Solid{A: 255}, opacity: 1}, 7, 11, 16)
	art := &artwork{mask: m}
	for y0 := range 16 {
		for y1 := y0 + 1; y1 <= 16; y1++ {
			for kind, c := range map[string]struct {
				element
				from, to int
			}{"piece": {&shown{piece: p}, 7, 11}, "art": {art, 5, 9}, "sheet": {sheet{vg.NewSprite(drawn)}, 5, 9}} {
				var key name.Builder
				c.sign(&key, y0, y1)
				if shows := y0 < c.to && c.from < y1; shows != (len(key) > 0) {
					t.Errorf("%s: rows %d to %d, %v, are signed %x", kind, y0, y1, shows, key)
				}
			}
		}
	}
}

// Art that other cards have shown is not asked for again, and a file that cannot be had is not the card's fault.
func TestArtIsOpenedWhenItIsNeeded(t *testing.T) {
	s := store{}
	tpl, err := parseWith(everyLayer(t, s, "#000000"), s.fetch, newKept())
	if err != nil {
		t.Fatal(err)
	}
	data := artFile(t, "svg", 1)
	asked, away := 0, errors.New("the bucket is away")
	c := Card{ID: "a", Fields: map[string]any{"name": "Heron"}, ArtType: "svg", ArtDigest: s.add(t, data)}
	c.OpenArt = func(context.Context) ([]byte, error) {
		asked++
		return nil, away
	}
	var reject *RejectError
	if _, err := tpl.Render(t.Context(), c); !errors.Is(err, away) || errors.As(err, &reject) {
		t.Fatalf("without its art: %v", err)
	}
	c.OpenArt = func(context.Context) ([]byte, error) {
		asked++
		return data, nil
	}
	plain := c
	plain.OpenArt, plain.Art = nil, data
	fresh, err := parseWith(everyLayer(t, s, "#000000"), s.fetch, newKept())
	if err != nil {
		t.Fatal(err)
	}
	want := render(t, fresh, plain).PNG
	for range 4 {
		if !bytes.Equal(render(t, tpl, c).PNG, want) {
			t.Fatal("not the card with the same art at hand")
		}
	}
	if asked != 1+2 { // the template shows the art in two sizes
		t.Errorf("asked %d times for the art", asked)
	}
	tpl.kept.pictures = cache.New[pictureKey, *packed](0) // the bands are enough
	if !bytes.Equal(render(t, tpl, c).PNG, want) || asked != 3 {
		t.Errorf("asked %d times for art that is known", asked)
	}
}

func TestPackedPicturesComeBackWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, opaque := range []bool{true, false} {
		for _, size := range [][2]int{{1, 1}, {2, 3}, {3, 2}, {17, 9}, {64, 50}, {5, 2 * packedRows}, {9, 3*packedRows + 1}} {
			c := vg.NewCanvas(size[0], size[1])
			for i := range c.Pix {
				c.Pix[i] = uint8(r.Uint32())
				if opaque && i%4 == 3 {
					c.Pix[i] = 255
				}
			}
			p := pack(c)
			out := vg.NewCanvas(size[0], size[1])
			for i := range out.Pix {
				out.Pix[i] = 99
			}
			if err := p.open(out).need(0, size[1]); err != nil || !bytes.Equal(out.Pix, c.Pix) {
				t.Errorf("%v, opaque %v: other pixels came back (%v)", size, opaque, err)
			}
			for range 10 { // in parts
				y0 := r.IntN(size[1])
				y1 := y0 + 1 + r.IntN(size[1]-y0)
				if err := p.open(out).need(y0-3, y1); err != nil || !bytes.Equal(out.Pix[4*size[0]*y0:4*size[0]*y1], c.Pix[4*size[0]*y0:4*size[0]*y1]) {
					t.Errorf("%v: rows %d to %d are other ones (%v)", size, y0, y1, err)
				}
				clear(out.Pix)
			}
		}
	}
}

// The files are at most half as large again as those of image/png, on the cards of the sample deck.
func TestSizeOnTheSampleDeck(t *testing.T) {
	for _, name := range []string{"classic", "minimal"} {
		parse, cards := sampleDeck(t, name)
		tpl := parse()
		for i := 0; i < len(cards); i += 5 { // image/png takes its time; the benchmark looks at all
			out := render(t, tpl, cards[i])
			if standard := standardSize(t, out.PNG); 2*len(out.PNG) > 3*standard {
				t.Errorf("%s, %s: %d bytes, image/png needs %d", name, cards[i].ID, len(out.PNG), standard)
			}
		}
	}
}

// standardSize is how large image/png makes the pixels of a file.
func standardSize(t testing.TB, data []byte) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}
