package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shippedFonts is where the kit's fonts are, seen from this package.
const shippedFonts = "../../cards/fonts"

// store is a place of files by digest.
type store map[string][]byte

func (s store) add(t testing.TB, data []byte) string {
	t.Helper()
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	s[digest] = data
	return digest
}

func (s store) font(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shippedFonts, name))
	if err != nil {
		t.Fatal(err)
	}
	return s.add(t, data)
}

func (s store) fetch(digest string) ([]byte, error) {
	if data, ok := s[digest]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("no file %s", digest)
}

// textBundle is a template with one text layer on white and a square of art.
func textBundle(t testing.TB, s store, text map[string]any) []byte {
	t.Helper()
	l := map[string]any{
		"kind": "text", "name": "text", "box": []int{10, 10, 380, 180}, "parts": []any{map[string]any{"text": "{text}"}},
		"font": "body", "size": 30, "min_size": 12, "color": "#000000", "line_height": 1.15,
	}
	for k, v := range text {
		l[k] = v
	}
	b := map[string]any{
		"format": 1, "name": "test", "width": 400, "height": 300, "dpi": 300,
		"fonts": map[string]any{"body": map[string]any{
			"regular": s.font(t, "Alegreya-Regular.ttf"), "italic": s.font(t, "Alegreya-Italic.ttf"),
		}},
		"fallback": []string{s.font(t, "NotoSansHebrew-Regular.ttf"), s.font(t, "NotoSansCJK-Subset.otf")},
		"layers": []any{
			map[string]any{"kind": "rect", "box": []int{0, 0, 400, 300}, "fill": "#ffffff"},
			l,
			map[string]any{"kind": "art", "box": []int{300, 200, 100, 100}, "position": []float64{0.5, 0.5}, "palette": []string{"#102030", "#405060", "#d0e0f0", "#ff8800"}},
		},
	}
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, text map[string]any) *Template {
	t.Helper()
	s := store{}
	tpl, err := Parse(textBundle(t, s, text), s.fetch)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func card(text string) Card {
	return Card{ID: "a", Fields: map[string]any{"id": "a", "text": text}, Seed: 1}
}

func render(t testing.TB, tpl *Template, c Card) *Output {
	t.Helper()
	out, err := tpl.Render(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ink counts the dark pixels of a picture's box.
func ink(t testing.TB, out *Output, x0, y0, x1, y1 int) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(out.PNG))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			if r, _, _, _ := img.At(x, y).RGBA(); r < 0x8000 {
				n++
			}
		}
	}
	return n
}

func TestSameCardSameBytes(t *testing.T) {
	c := card("The same {T} words, 東京 and שלום.")
	a, b := render(t, parse(t, nil), c), render(t, parse(t, nil), c)
	if !bytes.Equal(a.PNG, b.PNG) {
		t.Error("two templates of the same bundle draw the same card differently")
	}
	c.Seed = 2
	if bytes.Equal(a.PNG, render(t, parse(t, nil), c).PNG) {
		t.Error("the seed changes nothing")
	}
}

func TestPNGSaysItsSize(t *testing.T) {
	out := render(t, parse(t, nil), card("x"))
	i := bytes.Index(out.PNG, []byte("pHYs"))
	if i < 0 || binary.BigEndian.Uint32(out.PNG[i+4:]) != 11811 {
		t.Error("pHYs does not say 300 dpi")
	}
	if out.Width != 400 || out.Height != 300 {
		t.Errorf("size %d x %d", out.Width, out.Height)
	}
}

func TestMissingGlyphsAreNamedAndDrawn(t *testing.T) {
	tpl := parse(t, nil)
	out := render(t, tpl, card("a \U00013000 b \U0001F600"))
	want := "no font of the template has U+13000, U+1F600"
	if !slices.Contains(out.Warnings, want) {
		t.Errorf("warnings %q lack %q", out.Warnings, want)
	}
	if ink(t, render(t, tpl, card("\U00013000")), 10, 10, 60, 60) < 50 {
		t.Error("nothing was drawn for a missing glyph")
	}
}

func TestScriptsHaveGlyphs(t *testing.T) {
	tpl := parse(t, nil)
	for _, text := range []string{"Straße Łódź Tiếng Việt", "Ωμέγα ᾧ", "Ёжик Київ", "龙龍竜 汉字漢字", "ひらがなカタカナ", "한글 뷁", "שלום", "你好,世界。「」"} {
		if out := render(t, tpl, card(text)); len(out.Warnings) > 0 {
			t.Errorf("%s: %q", text, out.Warnings)
		}
	}
}

func TestRegionalFormsOfHan(t *testing.T) {
	tpl := parse(t, nil)
	c := card("直骨海")
	c.Fields["lang"] = "ja"
	ja := render(t, tpl, c)
	c.Fields["lang"] = "zh-TW"
	if bytes.Equal(ja.PNG, render(t, tpl, c).PNG) {
		t.Error("the column lang does not change the forms of Han characters")
	}
}

// block lays text out as the text layer would.
func lay(t testing.TB, tpl *Template, text string) *block {
	t.Helper()
	c := card(text)
	d := &drawing{ctx: context.Background(), tpl: tpl, card: &c, look: tpl.bundle.look(&c), lang: c.tongue()}
	l := tpl.bundle.Layers[1]
	paras, _, err := d.paragraphs(l, d.texts(l))
	if err != nil {
		t.Fatal(err)
	}
	b, err := tpl.type_.fit(paras, l, l.Box[2], l.Box[3], 0, shapeKey{family: "body", text: "…"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWrapping(t *testing.T) {
	tpl := parse(t, nil)
	if b := lay(t, tpl, "one\ntwo\n\nthree"); len(b.lines) != 3 || b.size != 30 {
		t.Errorf("explicit lines: %d at %g", len(b.lines), b.size)
	}
	for _, text := range []string{strings.Repeat("word ", 40), strings.Repeat("漢字", 40), strings.Repeat("x", 200)} {
		b := lay(t, tpl, text)
		if len(b.lines) < 2 {
			t.Errorf("%.20q: %d line", text, len(b.lines))
		}
		for _, ln := range b.lines {
			if w := ln.width * b.size; w > 380.5 {
				t.Errorf("%.20q: a line %g wide in a box of 380", text, w)
			}
		}
		if b.height > 180.5 {
			t.Errorf("%.20q: height %g in a box of 180", text, b.height)
		}
	}
}

func TestShrinkThenCut(t *testing.T) {
	tpl := parse(t, nil)
	b := lay(t, tpl, strings.Repeat("shrink ", 60))
	if b.cut || b.size >= 30 || b.size < 12 {
		t.Errorf("cut %v at size %g, wanted a smaller size", b.cut, b.size)
	}
	out := render(t, tpl, card(strings.Repeat("too much ", 2000)))
	if len(out.Warnings) != 1 || !strings.HasPrefix(out.Warnings[0], "text does not fit and was cut") {
		t.Errorf("warnings %q", out.Warnings)
	}
}

func TestRightToLeft(t *testing.T) {
	tpl := parse(t, nil)
	b := lay(t, tpl, "אב גד")
	ln := b.lines[0]
	if !ln.para.rtl || len(ln.atoms) != 2 || string(ln.atoms[0].text) != "גד" {
		t.Fatalf("the second word has to be the leftmost of %d", len(ln.atoms))
	}
	alef, err := tpl.type_.shape(shapeKey{family: "body", lang: "en", text: "א", rtl: true})
	if err != nil {
		t.Fatal(err)
	}
	glyphs := ln.atoms[1].run.glyphs
	if glyphs[len(glyphs)-1].gid != alef.glyphs[0].gid {
		t.Error("the first letter is not the rightmost")
	}
}

func TestEmptyCard(t *testing.T) {
	tpl := parse(t, nil)
	if out := render(t, tpl, Card{ID: ""}); len(out.Warnings) > 0 {
		t.Errorf("warnings %q", out.Warnings)
	}
	c := card("\x00\x1b[31m\u202e\ufffe\tok\xff")
	c.Fields["text"] = []any{"not", "a scalar"}
	render(t, tpl, c)
}

func hugePNG(w, h uint32) []byte {
	var head [13]byte
	binary.BigEndian.PutUint32(head[0:], w)
	binary.BigEndian.PutUint32(head[4:], h)
	head[8], head[9] = 8, 2
	out := []byte("\x89PNG\r\n\x1a\n")
	out = binary.BigEndian.AppendUint32(out, 13)
	out = append(out, "IHDR"...)
	out = append(out, head[:]...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[12:]))
}

func TestBadArtIsRejected(t *testing.T) {
	tpl := parse(t, nil)
	whole := render(t, tpl, card("x")).PNG
	bomb := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><defs><g id="a"><rect width="9" height="9"/></g>`
	for i := range 20 {
		prev := string(rune('a' + i))
		bomb += fmt.Sprintf(`<g id="%c">%s</g>`, 'b'+i, strings.Repeat(`<use href="#`+prev+`"/>`, 10))
	}
	bomb += `</defs><use href="#u"/></svg>`
	svg := func(inner string) string {
		return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">` + inner + `</svg>`
	}
	for name, art := range map[string]struct{ kind, data string }{
		"truncated png":     {"png", string(whole[:len(whole)/2])},
		"huge png":          {"png", string(hugePNG(100_000, 100_000))},
		"not a jpeg":        {"jpeg", "hello"},
		"wrong type":        {"gif", "GIF89a"},
		"external picture":  {"svg", svg(`<image href="http://127.0.0.1/x.png" width="9" height="9"/>`)},
		"file reference":    {"svg", svg(`<image xlink:href="file:///etc/passwd" width="9" height="9"/>`)},
		"external use":      {"svg", svg(`<use xlink:href="other.svg#a"/>`)},
		"external fill":     {"svg", svg(`<rect width="9" height="9" style="fill:url(http://127.0.0.1/p.svg#a)"/>`)},
		"entity bomb":       {"svg", `<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>` + svg(`<text>&b;</text>`)},
		"use bomb":          {"svg", bomb},
		"deep nesting":      {"svg", svg(strings.Repeat("<g>", 5000) + strings.Repeat("</g>", 5000))},
		"not closed":        {"svg", `<svg><rect`},
		"html":              {"svg", `<html></html>`},
		"empty":             {"svg", " "},
		"too much work":     {"svg", svg(`<path d="M0 0` + strings.Repeat("L9 9 0 0", 99_000) + `"/>`)},
		"picture in base64": {"svg", svg(`<image href="data:image/png;base64,AAAA" width="9" height="9"/>`)},
	} {
		c := card("x")
		c.Art, c.ArtType = []byte(art.data), art.kind
		_, err := tpl.Render(context.Background(), c)
		var reject *RejectError
		if !errors.As(err, &reject) || reject.Column != "art" || reject.Reason == "" {
			t.Errorf("%s: %v, wanted a rejection of the column art", name, err)
		}
	}
}

func TestArtIsDrawn(t *testing.T) {
	tpl := parse(t, nil)
	c := card("")
	c.Art = []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect width="10" height="10" fill="#fff"/><rect width="5" height="10"/></svg>`)
	c.ArtType = "svg"
	if n := ink(t, render(t, tpl, c), 300, 200, 400, 300); n < 4900 || n > 5100 {
		t.Errorf("%d dark pixels, wanted half of 10000", n)
	}
	own := render(t, tpl, c).PNG
	c.Art, c.ArtType = own, "png"
	if n := ink(t, render(t, tpl, c), 300, 200, 400, 300); n == 0 || n > 5000 {
		t.Errorf("%d dark pixels of a picture with a quarter of its corner dark", n)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := parse(t, nil).Render(ctx, card("x"))
	var reject *RejectError
	if !errors.Is(err, context.Canceled) || errors.As(err, &reject) {
		t.Errorf("%v, wanted the context's error", err)
	}
}

func TestAMissingFontIsNotTheCardsFault(t *testing.T) {
	s := store{}
	bundle := textBundle(t, s, nil)
	away := errors.New("away")
	tpl, err := Parse(bundle, func(string) ([]byte, error) { return nil, away })
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpl.Render(context.Background(), card("x"))
	var reject *RejectError
	if !errors.Is(err, away) || errors.As(err, &reject) {
		t.Errorf("%v, wanted the error of fetch", err)
	}
}

func TestFallbackFontsAreFetchedWhenNeeded(t *testing.T) {
	s := store{}
	bundle := textBundle(t, s, nil)
	var mu sync.Mutex
	n := 0
	tpl, err := Parse(bundle, func(d string) ([]byte, error) {
		mu.Lock()
		n++
		mu.Unlock()
		return s.fetch(d)
	})
	if err != nil {
		t.Fatal(err)
	}
	render(t, tpl, card("Latin"))
	if n != 1 {
		t.Errorf("%d fonts were fetched for Latin text, wanted 1", n)
	}
	render(t, tpl, card("漢字"))
	if n != 3 {
		t.Errorf("%d fonts were fetched with Han text, wanted 3", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	tpl := parse(t, nil)
	texts := []string{"Latin words", "Ёжик", "漢字と仮名", "שלום (123)", "𓀀"}
	var want [][]byte
	for _, text := range texts {
		want = append(want, render(t, parse(t, nil), card(text)).PNG)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			k := i % len(texts)
			out, err := tpl.Render(context.Background(), card(texts[k]))
			if err != nil || !bytes.Equal(out.PNG, want[k]) {
				t.Errorf("%q at once with others: %v, or other pixels", texts[k], err)
			}
		})
	}
	wg.Wait()
}

func TestBundlesThatCannotBeUsed(t *testing.T) {
	s := store{}
	good := string(textBundle(t, s, nil))
	for name, bad := range map[string]string{
		"not JSON":      "{",
		"other format":  strings.Replace(good, `"format":1`, `"format":2`, 1),
		"too large":     strings.Replace(good, `"width":400`, `"width":4000000`, 1),
		"unknown key":   strings.Replace(good, `"name":"test"`, `"name":"test","x":1`, 1),
		"unknown kind":  strings.Replace(good, `"kind":"rect"`, `"kind":"cube"`, 1),
		"unknown color": strings.Replace(good, `#ffffff`, `$nothing`, 1),
		"unknown font":  strings.Replace(good, `"font":"body"`, `"font":"nothing"`, 1),
		"no size":       strings.Replace(good, `"size":30`, `"size":0`, 1),
	} {
		if _, err := Parse([]byte(bad), s.fetch); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	s := store{}
	f.Add(textBundle(f, s, nil))
	f.Add([]byte(`{"format":1,"width":20,"height":20,"dpi":300,"layers":[{"kind":"rect","box":[0,0,9,9],"fill":{"radial":{"center":[0.5,0.5],"radius":0.5,"stops":[{"at":0,"color":"#fff"}]}}}]}`))
	f.Add([]byte(`{"format":1,"width":9,"height":9,"dpi":1,"layers":[{"kind":"path","box":[0,0,9,9],"path":"M0 0A1 1 0 01 5 5","view_box":[1,1],"stroke":"#000","stroke_width":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tpl, err := Parse(data, s.fetch)
		if err != nil || tpl.bundle.Width*tpl.bundle.Height > 200_000 {
			return
		}
		_, err = tpl.Render(context.Background(), card("a {b}"))
		if err != nil && strings.Contains(err.Error(), "goroutine") {
			t.Fatal(err)
		}
	})
}
