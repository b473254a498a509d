// Command try renders cards from a JSON list, for looking at them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"platform-kit/render"
)

func main() {
	dir := "/tmp/render/b"
	name, cards, out := os.Args[1], os.Args[2], os.Args[3]
	data, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		panic(err)
	}
	tpl, err := render.Parse(data, func(d string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, d)) })
	if err != nil {
		panic(err)
	}
	var list []map[string]any
	raw, _ := os.ReadFile(cards)
	if err := json.Unmarshal(raw, &list); err != nil {
		panic(err)
	}
	for i, f := range list {
		c := render.Card{ID: fmt.Sprint(f["id"]), Fields: f, Seed: 7}
		if a, _ := f["art"].(string); a != "" {
			c.Art, _ = os.ReadFile(a)
			c.ArtType = strings.TrimPrefix(filepath.Ext(a), ".")
		}
		o, err := tpl.Render(context.Background(), c)
		if err != nil {
			fmt.Println(i, "ERR", err)
			continue
		}
		fmt.Println(i, f["id"], o.Draw, o.Encode, len(o.PNG), o.Warnings)
		os.WriteFile(filepath.Join(out, fmt.Sprintf("%s-%02d.png", name, i)), o.PNG, 0o644)
	}
}
