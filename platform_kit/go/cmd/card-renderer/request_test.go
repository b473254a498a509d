package main

import (
	"strings"
	"testing"

	"platform-kit/assets"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

const good = `{"run":"r","id":"龍","row":2,"digest":"d","card":{"id":"龍","name":"Dragon","cost":"{2}{R}","power":5},
"derived":{"rarity":"rare","cost":["2","R"]},"template":"` + zeros + `","art":null,"art_type":null,"seed":7}`

func TestDecodeRequest(t *testing.T) {
	req, _, err := decodeRequest([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if req.ID != "龍" || req.Card["power"] != 5.0 || req.Derived["rarity"] != "rare" || req.Seed != 7 || req.Art != "" {
		t.Errorf("got %+v", req)
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, new, column, reason string }{
		"no JSON":          {`{"run"`, `{run`, "", "not the JSON of a card"},
		"two objects":      {`"seed":7}`, `"seed":7}{}`, "", "goes on"},
		"no id":            {`"id":"龍","row"`, `"row"`, "id", "no id"},
		"no card":          {`"card":{"id":"龍","name":"Dragon","cost":"{2}{R}","power":5},`, ``, "", `no "card"`},
		"a path":           {zeros, "../../etc/passwd", "", "SHA-256"},
		"a wildcard":       {zeros, strings.Repeat("*", 64), "", "SHA-256"},
		"capitals":         {zeros, strings.Repeat("A", 64), "", "SHA-256"},
		"art by name":      {`"art":null,"art_type":null`, `"art":"a.png","art_type":"png"`, "art", "SHA-256"},
		"art of no type":   {`"art":null`, `"art":"` + zeros + `"`, "art", "type"},
		"art of odd type":  {`"art":null,"art_type":null`, `"art":"` + zeros + `","art_type":"exe"`, "art", "exe"},
		"type without art": {`"art_type":null`, `"art_type":"png"`, "art", "SHA-256"},
		"art in capitals":  {`"art":null,"art_type":null`, `"art":"` + zeros + `","art_type":"WEBP"`, "art", "webp can"},
		"a huge seed":      {`"seed":7`, `"seed":1e99`, "", "not the JSON of a card"},
	} {
		data := strings.Replace(good, c.old, c.new, 1)
		if data == good {
			t.Fatalf("%s: nothing replaced", name)
		}
		_, column, err := decodeRequest([]byte(data))
		if err == nil || column != c.column || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: got column %q, error %v", name, column, err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"id":"x","card":{},"template":"` + zeros + `","art":"` + zeros + `","art_type":"svg"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"id":"\ud800","card":{"a":[[[]]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, _, err := decodeRequest(data)
		if err != nil {
			return
		}
		// Whatever is accepted may become a subject token.
		if !assets.IsDigest(req.Template) || (req.Art != "" && !assets.IsDigest(req.Art)) || req.ID == "" || req.Card == nil {
			t.Fatalf("accepted %q", data)
		}
	})
}
