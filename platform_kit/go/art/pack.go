package art

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"slices"

	"platform-kit/raster"
)

const (
	// MaxPage is the longest side of an atlas page.
	MaxPage = 2048
	// MaxSprites is how many pictures an atlas may have.
	MaxSprites = 10_000
)

// Item is one picture to be packed, by its thumbnail.
type Item struct {
	Path      string `json:"path"`
	Source    string `json:"source"`
	Thumbnail string `json:"thumbnail"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
}

// Sprite is where a picture is on the atlas.
type Sprite struct {
	Path   string `json:"path"`
	Source string `json:"source"` // the SHA-256 of the source's bytes
	Page   int    `json:"page"`
	X      int    `json:"x"`
	Y      int    `json:"y"`
	W      int    `json:"w"`
	H      int    `json:"h"`
}

// Manifest describes an atlas: its pages, and each sprite in the order of its path.
type Manifest struct {
	Version int      `json:"version"`
	Pages   []*File  `json:"pages"`
	Sprites []Sprite `json:"sprites"`
}

// PageOptions say how an atlas is laid out, in pixels.
type PageOptions struct {
	Side    int `json:"page_side"`
	Padding int `json:"padding"`
}

// Check tells what is wrong with the options.
func (o PageOptions) Check() error {
	if o.Side < 64 || o.Side > MaxPage {
		return fmt.Errorf("page_side is %d; it has to be 64 to %d", o.Side, MaxPage)
	}
	if o.Padding < 0 || o.Padding > 64 {
		return fmt.Errorf("padding is %d; it has to be 0 to 64", o.Padding)
	}
	return nil
}

// shelf is a row of sprites of about the same height.
type shelf struct{ page, y, height, x int }

// arrange gives every thumbnail its place. It depends on nothing but the items, in whatever order they come.
func arrange(items []Item, o PageOptions, height int) ([]Sprite, []image.Point, error) {
	sprites := make([]Sprite, len(items))
	order := make([]int, len(items))
	for i, item := range items {
		if item.Width < 1 || item.Height < 1 || item.Width+2*o.Padding > o.Side || item.Height+2*o.Padding > height {
			return nil, nil, raster.Refuse("%.80q has a thumbnail of %d x %d pixels, which no page of %d x %d holds",
				item.Path, item.Width, item.Height, o.Side, height)
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(items[b].Height, items[a].Height), cmp.Compare(items[b].Width, items[a].Width),
			cmp.Compare(items[a].Thumbnail, items[b].Thumbnail), cmp.Compare(items[a].Path, items[b].Path))
	})
	var shelves []shelf
	var pages []image.Point // the used part of each
	placed := map[string]Sprite{}
	for _, i := range order {
		item := items[i]
		spot, there := placed[item.Thumbnail]
		if !there { // equal pictures share one place
			at := slices.IndexFunc(shelves, func(s shelf) bool {
				return item.Height <= s.height && s.x+item.Width+o.Padding <= o.Side
			})
			if at < 0 {
				page, y := len(pages)-1, 0
				if page >= 0 {
					y = pages[page].Y
				}
				if page < 0 || y+item.Height+o.Padding > height {
					page, y = page+1, o.Padding
					pages = append(pages, image.Pt(0, y))
				}
				shelves = append(shelves, shelf{page, y, item.Height, o.Padding})
				at = len(shelves) - 1
				pages[page].Y = y + item.Height + o.Padding
			}
			s := &shelves[at]
			spot = Sprite{Page: s.page, X: s.x, Y: s.y, W: item.Width, H: item.Height}
			s.x += item.Width + o.Padding
			pages[s.page].X = max(pages[s.page].X, s.x)
			placed[item.Thumbnail] = spot
		}
		spot.Path, spot.Source = item.Path, item.Source
		sprites[i] = spot
	}
	return sprites, pages, nil
}

// Pack draws the pages of an atlas, keeping one in memory at a time, and returns the manifest with its file. get
// fetches a thumbnail by digest, put stores a page or the manifest.
func Pack(ctx context.Context, items []Item, o PageOptions,
	get func(context.Context, string) ([]byte, error), put func(context.Context, *File) error,
) (*Manifest, *File, error) {
	return pack(ctx, items, o, MaxFileBytes, get, put)
}

// pack is Pack with another limit of a file's bytes.
func pack(ctx context.Context, items []Item, o PageOptions, limit int,
	get func(context.Context, string) ([]byte, error), put func(context.Context, *File) error,
) (*Manifest, *File, error) {
	if len(items) > MaxSprites {
		return nil, nil, raster.Refuse("%d pictures; an atlas has at most %d", len(items), MaxSprites)
	}
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.Path, b.Path) })
	for height := o.Side; ; height /= 2 {
		sprites, sizes, err := arrange(items, o, height)
		if err != nil {
			return nil, nil, err
		}
		m := &Manifest{Version: 1, Pages: []*File{}, Sprites: sprites}
		fits := true
		for page, size := range sizes {
			var file *File
			if file, err = drawPage(ctx, page, size, items, sprites, get); err != nil {
				return nil, nil, err
			}
			if fits = file.Bytes <= limit; !fits {
				break
			}
			if err := put(ctx, file); err != nil {
				return nil, nil, err
			}
			file.data = nil
			m.Pages = append(m.Pages, file)
		}
		if !fits { // a page of noise: lower pages hold fewer bytes
			continue
		}
		data, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			return nil, nil, err
		}
		if len(data) > MaxFileBytes {
			return nil, nil, raster.Refuse("a manifest of %d bytes; at most %d are allowed", len(data), MaxFileBytes)
		}
		file := newFile(data, 0, 0)
		return m, file, put(ctx, file)
	}
}

func drawPage(ctx context.Context, page int, size image.Point, items []Item, sprites []Sprite,
	get func(context.Context, string) ([]byte, error),
) (*File, error) {
	canvas := image.NewNRGBA(image.Rectangle{Max: size})
	done := map[string]bool{}
	for i, s := range sprites {
		if s.Page != page || done[items[i].Thumbnail] {
			continue
		}
		done[items[i].Thumbnail] = true
		data, err := get(ctx, items[i].Thumbnail)
		if err != nil {
			return nil, err
		}
		config, err := png.DecodeConfig(bytes.NewReader(data))
		if err != nil || config.Width != s.W || config.Height != s.H {
			return nil, raster.Refuse("the thumbnail of %.80q is not the %d x %d pixels it is said to be", s.Path, s.W, s.H)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, raster.Refuse("the thumbnail of %.80q cannot be read: %v", s.Path, err)
		}
		thumbnail := raster.Plain(img)
		for y := range s.H {
			copy(canvas.Pix[(s.Y+y)*canvas.Stride+4*s.X:][:4*s.W], thumbnail.Pix[y*thumbnail.Stride:])
		}
	}
	data, err := encode(canvas)
	if err != nil {
		return nil, err
	}
	return newFile(data, size.X, size.Y), nil
}
