package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"

	"platform-kit/art"
	"platform-kit/assets"
	"platform-kit/worker"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"
const asked = `{"task":"prepare","source":"` + zeros + `","extension":"png","options":{"longest_side":64,"thumbnail_side":16,"page_side":256,"padding":2}}`

// memory keeps files for a test.
type memory struct {
	files map[string][]byte
	away  error
}

func (m *memory) Put(_ context.Context, file *art.File, _ string) error {
	if m.away == nil {
		m.files[file.Digest] = file.Data()
	}
	return m.away
}

func (m *memory) Get(_ context.Context, digest string) ([]byte, error) {
	if data, ok := m.files[digest]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%w", art.ErrGone)
}

func handlerOver(source assets.Source) (*handler, *memory) {
	m := &memory{files: map[string][]byte{}}
	return &handler{instance: "test-1", sources: assets.New(source, 1<<20), files: m, studio: art.NewStudio()}, m
}

// holding returns a source with one object and its digest.
func holding(data []byte) (assets.Source, string) {
	sum := sha256.Sum256(data)
	return func(context.Context, string) ([]byte, error) { return data, nil }, hex.EncodeToString(sum[:])
}

func picture(t *testing.T) []byte {
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewNRGBA(image.Rect(0, 0, 100, 50))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAPictureIsPreparedStoredAndPacked(t *testing.T) {
	source, digest := holding(picture(t))
	h, kept := handlerOver(source)
	res, err := h.handle(t.Context(), worker.Request{Data: []byte(strings.Replace(asked, zeros, digest, 1))})
	if err != nil {
		t.Fatal(err)
	}
	var made preparedReply
	if err := json.Unmarshal(res.Data, &made); err != nil {
		t.Fatal(err)
	}
	if made.Picture.Width != 64 || made.Picture.Height != 32 || made.Thumbnail.Width != 16 || made.Original.Width != 100 ||
		made.Worker != "test-1" || made.Warnings == nil {
		t.Errorf("got %s", res.Data)
	}
	for _, file := range []*art.File{made.Picture, made.Thumbnail} {
		if sum := sha256.Sum256(kept.files[file.Digest]); hex.EncodeToString(sum[:]) != file.Digest {
			t.Errorf("%s is not stored under its digest", file.Digest)
		}
	}

	items, _ := json.Marshal([]art.Item{{Path: "a.png", Source: digest, Thumbnail: made.Thumbnail.Digest, Width: 16, Height: 8}})
	source, digest = holding(items)
	h.sources = assets.New(source, 1<<20)
	packing := strings.Replace(strings.Replace(asked, zeros, digest, 1), "prepare", "pack", 1)
	res, err = h.handle(t.Context(), worker.Request{Data: []byte(packing)})
	if err != nil {
		t.Fatal(err)
	}
	var packed packedReply
	if err := json.Unmarshal(res.Data, &packed); err != nil || packed.Sprites != 1 || len(packed.Pages) != 1 {
		t.Fatalf("got %s, %v", res.Data, err)
	}
	var manifest art.Manifest
	if err := json.Unmarshal(kept.files[packed.Manifest.Digest], &manifest); err != nil || manifest.Sprites[0].Path != "a.png" {
		t.Fatalf("got %s, %v", kept.files[packed.Manifest.Digest], err)
	}
}

func TestFailuresAreSorted(t *testing.T) {
	torn, digest := holding([]byte("\x89PNG\r\n\x1a\n and then nothing"))
	lost := []byte(`[{"path":"a","thumbnail":"` + zeros + `","width":4,"height":4}]`)
	list, listDigest := holding(lost)
	good, goodDigest := holding(picture(t))
	for name, c := range map[string]struct {
		data      string
		source    assets.Source
		full      bool
		permanent bool
		says      string
	}{
		"not JSON":        {"{", nil, false, true, "not the JSON"},
		"goes on":         {asked + "{}", nil, false, true, "goes on"},
		"by name":         {strings.Replace(asked, zeros, "a.png", 1), nil, false, true, "SHA-256"},
		"an odd task":     {strings.Replace(asked, "prepare", "paint", 1), nil, false, true, "neither"},
		"an odd size":     {strings.Replace(asked, `"longest_side":64`, `"longest_side":99999`, 1), nil, false, true, "longest_side"},
		"a torn file":     {strings.Replace(asked, zeros, digest, 1), torn, false, true, "PNG"},
		"other bytes":     {asked, torn, false, true, "damaged"},
		"no such object":  {asked, failing(assets.ErrNotFound), false, true, "not in the bucket"},
		"no bucket":       {asked, failing(assets.ErrUnavailable), false, false, "cannot be read now"},
		"nowhere to keep": {strings.Replace(asked, zeros, goodDigest, 1), good, true, false, "no room"},
		"a lost thumbnail": {strings.Replace(strings.Replace(asked, zeros, listDigest, 1), "prepare", "pack", 1), list, false,
			true, "gone"},
		"no list": {strings.Replace(strings.Replace(asked, zeros, digest, 1), "prepare", "pack", 1), torn, false, true, "list"},
	} {
		t.Run(name, func(t *testing.T) {
			h, kept := handlerOver(c.source)
			if c.full {
				kept.away = errors.New("no room")
			}
			_, err := h.handle(t.Context(), worker.Request{Data: []byte(c.data)})
			var reject *worker.RejectError
			var unavailable *worker.UnavailableError
			if errors.As(err, &reject) != c.permanent || errors.As(err, &unavailable) == c.permanent {
				t.Fatalf("got %T %v", err, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v", err)
			}
		})
	}
}

func failing(err error) assets.Source {
	return func(context.Context, string) ([]byte, error) { return nil, err }
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(asked))
	f.Add([]byte(strings.Replace(asked, "prepare", "pack", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := decodeRequest(data)
		if err != nil {
			return
		}
		// The sizes of the task that is not asked for are not looked at.
		if !assets.IsDigest(req.Source) || req.Task == "prepare" && req.Options.LongestSide > art.MaxSide ||
			req.Task == "pack" && req.Options.PageOptions.Side > art.MaxPage {
			t.Fatalf("accepted %q", data)
		}
	})
}
