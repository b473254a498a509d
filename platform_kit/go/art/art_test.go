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
	"time"
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
	big := picture(t, 700, 500)
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
	data := picture(t, 60, 40)
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
	data := picture(t, 6, 4)
	said := append(bytes.Clone(data[:33]), chunked("tEXt", []byte("Comment\x00where I live"))...)
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
		made := prepare(t, picture(t, c.w, c.h), "png", Options{LongestSide: c.side, ThumbnailSide: 16})
		if made.Picture.Width != c.tw || made.Picture.Height != c.th {
			t.Errorf("%d x %d within %d: %d x %d", c.w, c.h, c.side, made.Picture.Width, made.Picture.Height)
		}
		pixels(t, made.Picture)
		pixels(t, made.Thumbnail)
	}
}

func TestScalingKeepsFlatColoursAndEdges(t *testing.T) {
	for _, fill := range []color.NRGBA{{255, 255, 255, 255}, {0, 0, 0, 255}, {200, 30, 90, 255}, {255, 0, 0, 128}, {9, 9, 9, 1}} {
		img := image.NewNRGBA(image.Rect(0, 0, 301, 211))
		for i := 0; i < len(img.Pix); i += 4 {
			img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = fill.R, fill.G, fill.B, fill.A
		}
		for _, size := range []image.Point{{100, 70}, {7, 5}, {1, 1}, {300, 210}} {
			out := scaled(img, size.X, size.Y)
			for i := 0; i < len(out.Pix); i += 4 {
				got := color.NRGBA{out.Pix[i], out.Pix[i+1], out.Pix[i+2], out.Pix[i+3]}
				if near := func(a, b uint8) bool { return max(a, b)-min(a, b) <= 1 }; fill.A > 1 &&
					!(near(got.R, fill.R) && near(got.G, fill.G) && near(got.B, fill.B)) || got.A != fill.A {
					t.Fatalf("%v in %v became %v", fill, size, got)
				}
			}
		}
	}
}

// exif returns a JPEG's APP1 segment with this orientation.
func exif(orientation uint16, order binary.AppendByteOrder) []byte {
	mark := "II*\x00"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		mark = "MM\x00*"
	}
	body := order.AppendUint32([]byte("Exif\x00\x00"+mark), 8)
	body = order.AppendUint16(body, 1)
	body = order.AppendUint16(body, 0x0112)
	body = order.AppendUint16(body, 3)
	body = order.AppendUint32(body, 1)
	body = order.AppendUint16(body, orientation)
	body = append(body, 0, 0, 0, 0, 0, 0)
	return append([]byte{0xff, 0xe1, 0, byte(len(body) + 2)}, body...)
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
			data := append(append(bytes.Clone(out.Bytes()[:2]), exif(orientation, order)...), out.Bytes()[2:]...)
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
	img2 := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	for i := range img2.Pix {
		img2.Pix[i] = byte(i)
	}
	for turned, back := range map[int]int{2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6} {
		if again := upright(upright(img2, turned), back); !bytes.Equal(again.Pix, img2.Pix) || again.Rect != img2.Rect {
			t.Errorf("orientation %d and back is another picture", turned)
		}
	}
}

// iccProfile returns a profile of three primaries with one gamma.
func iccProfile(space string, primaries [3][3]float64, gamma float64) []byte {
	fixed := func(v float64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(int32(v*65536))) }
	head := make([]byte, 128)
	copy(head[16:], space)
	copy(head[36:], "acsp")
	var tags, body []byte
	add := func(name string, data []byte) {
		tags = append(tags, name...)
		tags = binary.BigEndian.AppendUint32(tags, uint32(128+4+7*12+len(body)))
		tags = binary.BigEndian.AppendUint32(tags, uint32(len(data)))
		body = append(body, data...)
	}
	trc := append(append([]byte("para\x00\x00\x00\x00"), 0, 0, 0, 0), fixed(gamma)...)
	add("kTRC", trc)
	for i, name := range []string{"r", "g", "b"} {
		xyz := []byte("XYZ \x00\x00\x00\x00")
		for _, v := range primaries[i] {
			xyz = append(xyz, fixed(v)...)
		}
		add(name+"XYZ", xyz)
		add(name+"TRC", trc)
	}
	return slices.Concat(head, binary.BigEndian.AppendUint32(nil, 7), tags, body)
}

var displayP3 = [3][3]float64{{0.5151, 0.2412, -0.0011}, {0.2919, 0.6922, 0.0419}, {0.1572, 0.0666, 0.7841}}
var srgb = [3][3]float64{{0.4360, 0.2225, 0.0139}, {0.3851, 0.7169, 0.0971}, {0.1431, 0.0606, 0.7141}}

func TestColoursOfAProfileBecomeSRGB(t *testing.T) {
	p3 := parseProfile(iccProfile("RGB ", displayP3, 2.2))
	if p3 == nil || p3.isSRGB() {
		t.Fatal("Display P3 is taken for sRGB, or not read")
	}
	// Green of P3 lies outside of sRGB: red and blue fall to nothing.
	if got := p3.convert(0, 255, 0); got != [3]uint8{0, 255, 0} {
		t.Errorf("green became %v", got)
	}
	if got := p3.convert(128, 128, 128); max(got[0], got[1], got[2])-min(got[0], got[1], got[2]) > 2 || got[0] < 124 || got[0] > 132 {
		t.Errorf("grey became %v", got)
	}
	same := parseProfile(iccProfile("RGB ", srgb, 2.2))
	if same == nil {
		t.Fatal("sRGB's own primaries are not read")
	}
	for _, c := range [][3]uint8{{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}} {
		if got := same.convert(c[0], c[1], c[2]); max(got[0], c[0])-min(got[0], c[0]) > 3 || max(got[1], c[1])-min(got[1], c[1]) > 3 {
			t.Errorf("%v became %v", c, got)
		}
	}
	if grey := parseProfile(iccProfile("GRAY", srgb, 1.0)); grey == nil || grey.convert(128, 128, 128)[0] < 180 {
		t.Error("linear grey is not made lighter")
	}
	for name, data := range map[string][]byte{
		"none": nil, "short": make([]byte, 131), "ink": iccProfile("CMYK", srgb, 2.2),
		"cut": iccProfile("RGB ", srgb, 2.2)[:300], "steep": iccProfile("RGB ", srgb, -900),
	} {
		if parseProfile(data) != nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(iccProfile("RGB ", displayP3, 2.2))
	f.Add(iccProfile("GRAY", srgb, 1))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if p := parseProfile(data); p != nil {
			p.convert(1, 2, 3)
		}
	})
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

// ---------------------------------------------------------------- memory

func TestTheRoomIsNeverOverfull(t *testing.T) {
	r := newRoom(10)
	var mu sync.Mutex
	var inside, most int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			need := int64(1 + i%7)
			leave, err := r.enter(t.Context(), need)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside += need
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			inside -= need
			mu.Unlock()
			leave()
			leave() // once counts
		})
	}
	all.Wait()
	if most > 10 || r.left != 10 || len(r.waiting) != 0 {
		t.Errorf("%d were inside at once, %d are left", most, r.left)
	}
}

func TestWhoGivesUpWaitingTakesNothing(t *testing.T) {
	r := newRoom(10)
	leave, _ := r.enter(t.Context(), 1000) // more than there is: all of it
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.enter(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	leave()
	if r.left != 10 || len(r.waiting) != 0 {
		t.Errorf("%d left, %d wait", r.left, len(r.waiting))
	}
}

func BenchmarkPrepare(b *testing.B) {
	files, _ := filepath.Glob("../../../notebooks/data/art/*.svg")
	drawn, _ := os.ReadFile(files[0])
	for name, c := range map[string]struct {
		data      []byte
		extension string
	}{"svg": {drawn, "svg"}, "png": {picture(b, 2000, 1500), "png"}, "jpeg": {photo(b, 4000, 3000), "jpg"}} {
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
