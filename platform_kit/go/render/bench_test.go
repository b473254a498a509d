package render

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

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
func sampleDeck(b *testing.B, name string) (parse func() *Template, cards []Card) {
	b.Helper()
	const root = "../../.."
	data := filepath.Join(root, "notebooks", "data")
	cmd := exec.Command(filepath.Join(root, ".venv", "bin", "python"), "-c", dumpDeck, name, filepath.Join(data, "deck.csv"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("the benchmark needs the project's own Python, .venv/bin/python: %v", err)
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

// BenchmarkDeck renders the sample deck with the shipped templates. "new" is a worker's first run,
// with nothing drawn yet; "warm" has the template's parts and its glyphs but not the cards' art.
func BenchmarkDeck(b *testing.B) {
	for _, name := range []string{"classic", "minimal"} {
		parse, cards := sampleDeck(b, name)
		run := func(b *testing.B, tpl *Template) {
			for i := range cards {
				out, err := tpl.Render(context.Background(), cards[i])
				if err != nil {
					b.Fatal(err)
				}
				_ = out
			}
		}
		b.Run(name+"/new", func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for range b.N {
				run(b, parse())
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N*len(cards)), "cpu-ms/card")
		})
		b.Run(name+"/warm", func(b *testing.B) {
			tpl := parse()
			run(b, tpl)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			for range b.N {
				tpl.pictures = newCache[pictureKey, *vg.Canvas](picturesLimit)
				run(b, tpl)
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N*len(cards)), "cpu-ms/card")
		})
	}
}
