package render

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image/jpeg"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"platform-kit/render/internal/cache"
	"platform-kit/render/internal/name"
	"platform-kit/render/internal/pngenc"
	"platform-kit/render/internal/vg"
)

// dumpDeck has Python, which resolves templates, write what a worker is sent.
const dumpDeck = `
import base64, csv, json, sys
from platform_kit.cards.template import Template
t = Template.read(sys.argv[1])
rows = list(csv.DictReader(open(sys.argv[2], encoding="utf-8-sig", newline="")))
print(json.dumps({"bundle": t.bundle().decode(), "files": {k: base64.b64encode(v).decode() for k, v in t.files().items()}, "rows": rows}))
`

// sampleDeck returns a shipped template, parsed, and the sample deck's cards.
func sampleDeck(b testing.TB, name string) (parse func() *Template, cards []Card) {
	b.Helper()
	const root = "../../.."
	data := filepath.Join(root, "notebooks", "data")
	python := os.Getenv("PLATFORM_PYTHON") // the checks run by another Python than the checkout's say which
	if python == "" {
		python = filepath.Join(root, ".venv", "bin", "python")
	}
	cmd := exec.Command(python, "-c", dumpDeck, name, filepath.Join(data, "deck.csv"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("the benchmark needs the project's Python, %s: %v", python, err)
	}
	var dump struct {
		Bundle string
		Files  map[string]string
		Rows   []map[string]string
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		b.Fatal(err)
	}
	s := store{}
	for digest, text := range dump.Files {
		if s[digest], err = base64.StdEncoding.DecodeString(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, row := range dump.Rows {
		c := Card{ID: row["id"], Fields: map[string]any{}, Seed: 7}
		for k, v := range row {
			c.Fields[k] = v
		}
		if row["art"] != "" {
			if c.Art, err = os.ReadFile(filepath.Join(data, row["art"])); err != nil {
				b.Fatal(err)
			}
			c.ArtType = "svg"
		}
		cards = append(cards, c)
	}
	return func() *Template {
		tpl, err := Parse([]byte(dump.Bundle), s.fetch)
		if err != nil {
			b.Fatal(err)
		}
		return tpl
	}, cards
}

// cpu is the processor time taken so far. Unlike the time on the clock, it
// says the same on a busy machine.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perCard renders cards b.N times over, the way they are given by pick, and reports the processor time of one.
func perCard(b *testing.B, tpl *Template, count int, pick func(round, i int) Card) {
	b.ReportAllocs()
	b.ResetTimer()
	before, size := cpu(b), 0
	for round := range b.N {
		for i := range count {
			out, err := tpl.Render(context.Background(), pick(round, i))
			if err != nil {
				b.Fatal(err)
			}
			size += len(out.PNG)
		}
	}
	b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N*count), "cpu-ms/card")
	b.ReportMetric(float64(size)/float64(b.N*count), "bytes/card")
}

// BenchmarkCard renders the sample deck with the shipped templates. "new art" has the template's parts and its
// glyphs but none of the art; "known art" has drawn all art before, on cards with other words.
func BenchmarkCard(b *testing.B) {
	for _, name := range []string{"classic", "minimal"} {
		parse, cards := sampleDeck(b, name)
		swapped := func(round, i int) Card {
			c, other := cards[i], &cards[(i+round+1)%len(cards)]
			c.Art, c.ArtType = other.Art, other.ArtType
			return c
		}
		tpl := parse()
		tpl.kept = newKept()
		tpl.type_.kept = tpl.kept
		all := func() {
			for i := range cards {
				if _, err := tpl.Render(context.Background(), cards[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
		all()
		b.Run(name+"/new art", func(b *testing.B) {
			perCard(b, tpl, len(cards), func(round, i int) Card {
				if i == 0 { // forget art, drawn and compressed
					tpl.kept.pictures = cache.New[pictureKey, *packed](picturesLimit)
					tpl.kept.png = pngenc.New(bandsLimit)
				}
				return swapped(round, i)
			})
		})
		for range 2 { // a band is remembered when it comes a second time
			all()
		}
		b.Run(name+"/known art", func(b *testing.B) {
			perCard(b, tpl, len(cards), swapped)
		})
	}
}

// BenchmarkArt draws one picture of each type that is new on every card.
func BenchmarkArt(b *testing.B) {
	parse, cards := sampleDeck(b, "classic")
	tpl := parse()
	c := cards[0]
	picture, err := tpl.decode(context.Background(), c.Art, c.ArtType, 1284, 948, true, [2]float64{0.5, 0.4}, vg.Color{A: 255})
	if err != nil {
		b.Fatal(err)
	}
	var asPNG, asJPEG bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, picture.Image()), jpeg.Encode(&asJPEG, picture.Image(), &jpeg.Options{Quality: 90})); err != nil {
		b.Fatal(err)
	}
	for kind, data := range map[string][]byte{"svg": c.Art, "png": asPNG.Bytes(), "jpeg": asJPEG.Bytes()} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for range b.N {
				if _, err := tpl.decode(context.Background(), data, kind, 642, 474, true, [2]float64{0.5, 0.4}, vg.Color{A: 255}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-ms")
		})
	}
}

// named is a canvas whose rows have the names of their pixels.
type named struct{ *vg.Canvas }

func (n named) Name(y0, y1 int) name.Name { return name.Of(n.Pix[4*n.W*y0 : 4*n.W*y1]) }

func (n named) Draw(y0, y1 int) ([]uint8, error) { return n.Pix[4*n.W*y0 : 4*n.W*y1], nil }

// BenchmarkEncode writes cards of the sample deck: with nothing remembered, with everything, and by image/png.
func BenchmarkEncode(b *testing.B) {
	parse, cards := sampleDeck(b, "classic")
	tpl := parse()
	var pictures []*vg.Canvas
	for i := 0; i < len(cards); i += 10 {
		img, err := png.Decode(bytes.NewReader(render(b, tpl, cards[i]).PNG))
		if err != nil {
			b.Fatal(err)
		}
		pictures = append(pictures, vg.FromImage(img))
	}
	known := pngenc.New(64 << 20)
	again := func(p *vg.Canvas) int {
		data, err := known.Encode(named{p}, p.W, p.H, 300)
		if err != nil {
			b.Fatal(err)
		}
		return len(data)
	}
	for range 2 {
		for _, p := range pictures {
			again(p)
		}
	}
	for name, encode := range map[string]func(p *vg.Canvas) int{
		"new": func() func(p *vg.Canvas) int {
			e := pngenc.New(0)
			return func(p *vg.Canvas) int { return len(e.EncodePixels(p.Pix, p.W, p.H, 300)) }
		}(),
		"known": again,
		"image-png": func(p *vg.Canvas) int {
			var out bytes.Buffer
			if err := png.Encode(&out, p.Image()); err != nil {
				b.Fatal(err)
			}
			return out.Len()
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before, size := cpu(b), 0
			for i := range b.N {
				size += encode(pictures[i%len(pictures)])
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-ms")
			b.ReportMetric(float64(size)/float64(b.N), "bytes")
		})
	}
}
