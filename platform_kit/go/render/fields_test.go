package render

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math/rand/v2"
	"testing"

	"platform-kit/render/internal/vg"
)

func TestTheFirstColumnWithAValueIsShown(t *testing.T) {
	c := Card{ID: "x", Fields: map[string]any{
		"power": "", "Attack": 3, "health": "5", "HP": "9", "a|b": "odd", "zero": 0, "ID": "other",
	}}
	for text, want := range map[string]string{
		"{power|attack}/{toughness|health|hp}": "3/5",
		"{ATTACK}":                             "3",
		"{hp|health}":                          "9",
		"{power}":                              "",
		"{power|nothing}":                      "",
		"{a|b}":                                "odd",
		"{zero|attack}":                        "0",
		"{ power | health }":                   "5",
		"{id}":                                 "x",
	} {
		if got := c.expand(text); got != want {
			t.Errorf("%s is %q, wanted %q", text, got, want)
		}
	}
	yes, no := true, false
	for name, want := range map[string]bool{"power|attack": true, "power|toughness": false, "hp": true} {
		if c.holds([]condition{{Field: name, Present: &yes}}) != want || c.holds([]condition{{Field: name, Present: &no}}) == want {
			t.Errorf("the condition %s does not hold as it should", name)
		}
	}
}

func TestColumnsThatDifferInCaseAloneAreTakenInOrder(t *testing.T) {
	for range 50 {
		c := Card{Fields: map[string]any{"pOWER": "b", "Power": "a"}}
		if got := c.field("power"); got != "a" {
			t.Fatalf("power is %q", got)
		}
	}
}

func TestKoreanIsBrokenBetweenWords(t *testing.T) {
	tpl := parse(t, nil)
	text := []rune("카드를 두 장 뽑습니다")
	p, err := tpl.type_.build(text, make([]attr, len(text)), shapeKey{family: "body", lang: "ko"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for width := 3.6; width < 8; width += 0.1 {
		lines, _, err := tpl.type_.wrap(p, width, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		words := map[string]bool{"카드를": true, "두": true, "장": true, "뽑습니다": true}
		for _, l := range lines {
			word := ""
			for i, a := range l.atoms {
				word += string(a.text)
				if a.space > 0 || i == len(l.atoms)-1 {
					if !words[word] {
						t.Fatalf("width %.1f: a line has %q", width, word)
					}
					word = ""
				}
			}
		}
	}
}

// What is aligned to a side stays there, whatever the script; what is not begins
// where its script does.
func TestAlignmentOfTextFromRightToLeft(t *testing.T) {
	for align, wanted := range map[string]bool{"": false, "left": true, "right": false} {
		l := map[string]any{}
		if align != "" {
			l["align"] = align
		}
		out := render(t, parse(t, l), card("שלום"))
		if left := ink(t, out, 10, 10, 150, 100) > 0; left != wanted {
			t.Errorf("align %q: ink on the left is %v", align, left)
		}
	}
}

// Whatever the width, the file holds the canvas's pixels.
func TestPNGHoldsThePixels(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for w := 1; w < 40; w++ {
		c := vg.NewCanvas(w, 7)
		smooth := r.IntN(2) == 0
		for i := range c.Pix {
			switch {
			case i%4 == 3:
				c.Pix[i] = 255
			case smooth:
				c.Pix[i] = uint8(i / 4 % w * 5)
			case i/4/w != 3: // one row of black
				c.Pix[i] = uint8(r.IntN(256))
			}
		}
		data := shared.png.EncodePixels(c.Pix, c.W, c.H, 300)
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("width %d: %v", w, err)
		}
		if !bytes.Equal(vg.FromImage(img).Pix, c.Pix) {
			t.Fatalf("width %d: the file's pixels are not the canvas's", w)
		}
	}
}

func TestNoParagraphEndsWithAShortWordAlone(t *testing.T) {
	tpl := parse(t, nil)
	ts := tpl.type_
	l := &tpl.bundle.Layers[1]
	for _, text := range []string{
		"Look down: someone is looking up, and late for something to do.",
		"It is what it is and so be it, or not be it at all, we say so.",
		"猫又が場に出たとき、カードを一枚引く。月が出ているあいだ、飛行を得る。",
		"The Low Kings.",
	} {
		for width := 120.0; width < 500; width += 3 {
			d := &drawing{tpl: tpl, card: &Card{Fields: map[string]any{"text": text}}, lang: "en"}
			paras, _, err := d.paragraphs(*l, d.texts(*l))
			if err != nil {
				t.Fatal(err)
			}
			plain, ok, err := ts.measure(paras, *l, width, 24, 0, false)
			if err != nil || !ok {
				continue
			}
			even, _, _ := ts.measure(paras, *l, width, 24, 0, false)
			if err := ts.balance(even, paras, width, 0); err != nil {
				t.Fatal(err)
			}
			n := len(plain.lines)
			if len(even.lines) != n {
				t.Fatalf("width %g: %d lines became %d", width, n, len(even.lines))
			}
			before, after := plain.lines[n-1].width, even.lines[n-1].width
			if after < before || (len(even.lines[0].atoms) == 0) {
				t.Fatalf("width %g: a last line of %.2f became %.2f", width, before, after)
			}
			for _, ln := range even.lines {
				if ln.width*24 > width+0.01 {
					t.Fatalf("width %g: a line of %.1f", width, ln.width*24)
				}
			}
		}
	}
	p, err := ts.build([]rune("Nobody lit them. Nobody dares to put them out."), make([]attr, 46), shapeKey{family: "body", lang: "en"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole := 0.0
	for _, a := range p.atoms {
		whole += a.width + a.space
	}
	lines, _, _ := ts.wrap(p, whole-0.5, 0, false)
	b := &block{size: 1, lines: lines}
	p.scale = 1
	if err := ts.balance(b, []*paragraph{p}, whole-0.5, 0); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || len(lines[1].atoms) != 1 || len(b.lines) != 2 || len(b.lines[1].atoms) < 2 {
		t.Errorf("%d and %d words on the last line", len(lines[1].atoms), len(b.lines[1].atoms))
	}
}

// A card leaves nothing behind for the next one, where a template has no ground.
func TestCardsDoNotShowThroughEachOther(t *testing.T) {
	s := store{}
	var b map[string]any
	if err := json.Unmarshal(textBundle(t, s, map[string]any{"color": "#ffffff"}), &b); err != nil {
		t.Fatal(err)
	}
	b["layers"] = b["layers"].([]any)[1:]
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *Template {
		tpl, err := Parse(data, s.fetch)
		if err != nil {
			t.Fatal(err)
		}
		return tpl
	}
	used := fresh()
	for _, text := range []string{"Many words that cover a part of the card. {T}", "One", "", "Two and three"} {
		if !bytes.Equal(render(t, used, card(text)).PNG, render(t, fresh(), card(text)).PNG) {
			t.Errorf("%q looks different after other cards", text)
		}
	}
}
