package art

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"platform-kit/internal/rastertest"
)

func prepare(t testing.TB, data []byte, extension string, o Options) *Prepared {
	t.Helper()
	made, err := NewStudio().Prepare(t.Context(), data, extension, o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func pixels(t testing.TB, file *File) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file.Data()))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != file.Width || b.Dy() != file.Height {
		t.Fatalf("%v, said to be %d x %d", b, file.Width, file.Height)
	}
	return img
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	big := rastertest.PNG(t, 700, 500)
	first := prepare(t, big, "png", usual)
	second := prepare(t, big, "PNG", usual)
	if first.Picture.Digest != second.Picture.Digest || first.Thumbnail.Digest != second.Thumbnail.Digest {
		t.Fatal("other bytes")
	}
	// Scaling works with whole numbers: these digests hold on every machine.
	const want = "64f5a88e1ca3060abcd1def2e374510c9d53309b0a4d42d5c831ded084d9db7e"
	small := prepare(t, big, "png", Options{LongestSide: 100, ThumbnailSide: 20})
	raw := pixels(t, small.Picture).(*image.NRGBA)
	if got := newFile(raw.Pix, 0, 0).Digest; got != want {
		t.Errorf("the pixels hash to %s, want %s", got, want)
	}
}

func TestAPictureThatIsSmallEnoughKeepsItsPixels(t *testing.T) {
	data := rastertest.PNG(t, 60, 40)
	want, _ := png.Decode(bytes.NewReader(data))
	made := prepare(t, data, "png", usual)
	got := pixels(t, made.Picture)
	if !bytes.Equal(got.(*image.NRGBA).Pix, want.(*image.NRGBA).Pix) || made.Opaque {
		t.Error("other pixels")
	}
	if made.Picture.Digest != made.Thumbnail.Digest {
		t.Error("a thumbnail that needs no scaling is another file")
	}
}

func TestNothingIsLeftInTheFileButThePicture(t *testing.T) {
	data := rastertest.PNG(t, 6, 4)
	said := append(bytes.Clone(data[:33]), rastertest.Chunk("tEXt", []byte("Comment\x00where I live"))...)
	made := prepare(t, append(said, data[33:]...), "png", usual)
	var kinds []string
	for rest := made.Picture.Data()[8:]; len(rest) > 0; {
		kinds = append(kinds, string(rest[4:8]))
		rest = rest[12+binary.BigEndian.Uint32(rest):]
	}
	if !slices.Equal(kinds, []string{"IHDR", "sRGB", "IDAT", "IEND"}) {
		t.Errorf("chunks %v", kinds)
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct{ w, h, side, tw, th int }{
		{800, 400, 100, 100, 50}, {400, 800, 100, 50, 100}, {100, 100, 100, 100, 100}, {50, 20, 100, 50, 20},
		{3000, 1, 100, 100, 1}, {1, 1, 100, 1, 1}, {333, 777, 256, 110, 256},
	} {
		made := prepare(t, rastertest.PNG(t, c.w, c.h), "png", Options{LongestSide: c.side, ThumbnailSide: 16})
		if made.Picture.Width != c.tw || made.Picture.Height != c.th {
			t.Errorf("%d x %d within %d: %d x %d", c.w, c.h, c.side, made.Picture.Width, made.Picture.Height)
		}
		pixels(t, made.Picture)
		pixels(t, made.Thumbnail)
	}
}

func TestPhotosStandUpright(t *testing.T) {
	// A dark left half: where is it after each orientation?
	img := image.NewGray(image.Rect(0, 0, 64, 32))
	for i := range img.Pix {
		if i%64 >= 32 {
			img.Pix[i] = 255
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	for orientation, dark := range map[uint16]string{
		1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom", 9: "left", 0: "left",
	} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			data := append(append(bytes.Clone(out.Bytes()[:2]), rastertest.EXIF(orientation, order)...), out.Bytes()[2:]...)
			made := prepare(t, data, "jpeg", usual)
			got := pixels(t, made.Picture)
			w, h := got.Bounds().Dx(), got.Bounds().Dy()
			if (dark == "left" || dark == "right") != (w == 64 && h == 32) {
				t.Fatalf("orientation %d: %d x %d", orientation, w, h)
			}
			spots := map[string]image.Point{"left": {4, h / 2}, "right": {w - 5, h / 2}, "top": {w / 2, 4}, "bottom": {w / 2, h - 5}}
			if r, _, _, _ := got.At(spots[dark].X, spots[dark].Y).RGBA(); r > 0x3000 {
				t.Errorf("orientation %d: %s is not dark", orientation, dark)
			}
		}
	}
}

func TestEveryPictureOfTheSampleDeckIsTaken(t *testing.T) {
	files, err := filepath.Glob("../../../notebooks/data/art/*.svg")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d pictures, %v", len(files), err)
	}
	for _, file := range files[:12] {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		made := prepare(t, data, "svg", Options{LongestSide: 200, ThumbnailSide: 50})
		if len(made.Warnings) > 0 || made.Picture.Width != 200 {
			t.Errorf("%s: %v, %d pixels", file, made.Warnings, made.Picture.Width)
		}
	}
}

// ---------------------------------------------------------------- the atlas

type shelfStore struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (s *shelfStore) get(_ context.Context, digest string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.files[digest]; ok {
		return data, nil
	}
	return nil, ErrGone
}

func (s *shelfStore) put(_ context.Context, file *File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[file.Digest] = bytes.Clone(file.data)
	return nil
}

func sprites(t testing.TB, n int, store *shelfStore, random *rand.Rand) []Item {
	var items []Item
	for i := range n {
		w, h := 1+random.IntN(60), 1+random.IntN(60)
		img := image.NewNRGBA(image.Rect(0, 0, w, h))
		for j := range img.Pix {
			img.Pix[j] = byte(i*31 + j)
		}
		data, err := encode(img)
		if err != nil {
			t.Fatal(err)
		}
		file := newFile(data, w, h)
		_ = store.put(t.Context(), file)
		items = append(items, Item{Path: fmt.Sprintf("%03d.png", i), Source: fmt.Sprint(i), Thumbnail: file.Digest, Width: w, Height: h})
	}
	return items
}

func TestAnAtlasHoldsEverySpriteOnceAndDependsOnNothingElse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 40, 150} {
		store := &shelfStore{files: map[string][]byte{}}
		items := sprites(t, n, store, random)
		options := PageOptions{Side: 256, Padding: 2}
		manifest, file, err := Pack(t.Context(), items, options, store.get, store.put)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := slices.Clone(items)
		random.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		_, again, err := Pack(t.Context(), shuffled, options, store.get, store.put)
		if err != nil || again.Digest != file.Digest {
			t.Fatalf("another order gives another atlas: %v", err)
		}
		var read Manifest
		if err := json.Unmarshal(store.files[file.Digest], &read); err != nil || len(read.Sprites) != n {
			t.Fatalf("%d sprites, %v", len(read.Sprites), err)
		}
		var drawn []image.Image
		for _, page := range manifest.Pages {
			img, err := png.Decode(bytes.NewReader(store.files[page.Digest]))
			if err != nil {
				t.Fatal(err)
			}
			drawn = append(drawn, img)
		}
		for i, a := range manifest.Sprites {
			page := manifest.Pages[a.Page]
			if page.Width > 256 || page.Height > 256 || a.X < 2 || a.Y < 2 || a.X+a.W+2 > page.Width || a.Y+a.H+2 > page.Height {
				t.Fatalf("%+v on a page of %d x %d", a, page.Width, page.Height)
			}
			if a.W != items[i].Width || a.H != items[i].Height || a.Path != items[i].Path {
				t.Fatalf("%+v of %+v", a, items[i])
			}
			for _, b := range manifest.Sprites[:i] {
				apart := a.Page != b.Page || a.X >= b.X+b.W+2 || b.X >= a.X+a.W+2 || a.Y >= b.Y+b.H+2 || b.Y >= a.Y+a.H+2
				if !apart && items[i].Thumbnail != thumbnailOf(items, b.Path) {
					t.Fatalf("%+v lies over %+v", a, b)
				}
			}
			img := drawn[a.Page]
			own, _ := png.Decode(bytes.NewReader(store.files[items[i].Thumbnail]))
			if got, want := img.At(a.X+a.W-1, a.Y+a.H-1), own.At(a.W-1, a.H-1); color.NRGBAModel.Convert(got) != color.NRGBAModel.Convert(want) {
				t.Fatalf("%s: %v is drawn as %v", a.Path, want, got)
			}
		}
	}
}

func thumbnailOf(items []Item, path string) string {
	return items[slices.IndexFunc(items, func(i Item) bool { return i.Path == path })].Thumbnail
}

func TestEqualPicturesShareAPlace(t *testing.T) {
	store := &shelfStore{files: map[string][]byte{}}
	items := sprites(t, 1, store, rand.New(rand.NewPCG(3, 4)))
	twin := items[0]
	twin.Path = "twin.png"
	manifest, _, err := Pack(t.Context(), append(items, twin), PageOptions{Side: 128}, store.get, store.put)
	if err != nil || manifest.Sprites[0].X != manifest.Sprites[1].X || manifest.Sprites[1].Path != "twin.png" {
		t.Fatalf("%+v, %v", manifest, err)
	}
}

func TestPagesOfNoiseStayBelowTheLargestMessage(t *testing.T) {
	store := &shelfStore{files: map[string][]byte{}}
	random := rand.New(rand.NewPCG(5, 6))
	var items []Item
	for i := range 16 {
		img := image.NewNRGBA(image.Rect(0, 0, 62, 62))
		for j := range img.Pix {
			img.Pix[j] = byte(random.Uint32())
		}
		data, _ := encode(img)
		file := newFile(data, 62, 62)
		_ = store.put(t.Context(), file)
		items = append(items, Item{Path: fmt.Sprint(i), Thumbnail: file.Digest, Width: 62, Height: 62})
	}
	for limit, pages := range map[int]int{MaxFileBytes: 1, 200_000: 2, 100_000: 4} {
		manifest, _, err := pack(t.Context(), items, PageOptions{Side: 256, Padding: 1}, limit, store.get, store.put)
		if err != nil || len(manifest.Pages) < pages {
			t.Fatalf("%d bytes: %v, %v", limit, manifest, err)
		}
		for _, page := range manifest.Pages {
			if page.Bytes > limit {
				t.Errorf("a page of %d bytes, the limit is %d", page.Bytes, limit)
			}
		}
	}
	var refused *Refused
	if _, _, err := pack(t.Context(), items, PageOptions{Side: 256, Padding: 1}, 1000, store.get, store.put); !errors.As(err, &refused) {
		t.Errorf("a limit no page can keep: %v", err)
	}
}

func TestAThumbnailThatLiesIsRefused(t *testing.T) {
	store := &shelfStore{files: map[string][]byte{}}
	items := sprites(t, 1, store, rand.New(rand.NewPCG(7, 8)))
	var refused *Refused
	for name, change := range map[string]func(*Item){
		"wider": func(i *Item) { i.Width++ }, "too wide": func(i *Item) { i.Width = 5000 }, "nothing": func(i *Item) { i.Height = 0 },
	} {
		item := items[0]
		change(&item)
		if _, _, err := Pack(t.Context(), []Item{item}, PageOptions{Side: 256}, store.get, store.put); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Pack(t.Context(), make([]Item, MaxSprites+1), PageOptions{Side: 256}, store.get, store.put); !errors.As(err, &refused) {
		t.Errorf("too many: %v", err)
	}
}

func BenchmarkPrepare(b *testing.B) {
	files, _ := filepath.Glob("../../../notebooks/data/art/*.svg")
	drawn, _ := os.ReadFile(files[0])
	for name, c := range map[string]struct {
		data      []byte
		extension string
	}{"svg": {drawn, "svg"}, "png": {rastertest.PNG(b, 2000, 1500), "png"}, "jpeg": {rastertest.JPEG(b, 4000, 3000), "jpg"}} {
		b.Run(name, func(b *testing.B) {
			studio := NewStudio()
			for b.Loop() {
				made, err := studio.Prepare(b.Context(), c.data, c.extension, usual)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(made.Decode.Microseconds())/1000, "decode-ms")
				b.ReportMetric(float64(made.Scale.Microseconds())/1000, "scale-ms")
				b.ReportMetric(float64(made.Encode.Microseconds())/1000, "encode-ms")
				b.ReportMetric(float64(made.Picture.Bytes), "bytes")
			}
		})
	}
}
