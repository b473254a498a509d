package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"platform-kit/render/internal/vg"
)

// Limits of a template.
const (
	bundleFormat   = 1
	maxBundleBytes = 4 << 20
	maxPixels      = 16_000_000
	maxLayers      = 1000
	maxGroupDepth  = 8
)

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// bundle is the JSON a template arrives as. Lengths are in pixels.
type bundle struct {
	Format   int                          `json:"format"`
	Name     string                       `json:"name"`
	Width    int                          `json:"width"`
	Height   int                          `json:"height"`
	DPI      float64                      `json:"dpi"`
	Fonts    map[string]map[string]string `json:"fonts"`
	Fallback []string                     `json:"fallback"`
	Colors   map[string]string            `json:"colors"`
	Styles   []styleSet                   `json:"styles"`
	Icons    map[string]iconSet           `json:"icons"`
	Layers   []*layer                     `json:"layers"`
}

// styleSet gives colours names by the value of one field.
type styleSet struct {
	Field   string            `json:"field"`
	Values  []styleValue      `json:"values"`
	Default map[string]string `json:"default"`
	Spread  []string          `json:"spread"` // keys that unknown values are spread over
}

type styleValue struct {
	Key   string            `json:"key"`
	Words []string          `json:"words"`
	Set   map[string]string `json:"set"`
}

type iconSet struct {
	Symbols []*icon `json:"symbols"`
	Default *icon   `json:"default"`
}

type icon struct {
	Key    string     `json:"key"`
	Words  []string   `json:"words"`
	Shape  string     `json:"shape"`
	Path   string     `json:"path"` // path data in a box of 100 by 100, drawn inside of the shape
	Image  *asset     `json:"image"`
	Inset  float64    `json:"inset"`
	Fill   *paintSpec `json:"fill"`
	Stroke string     `json:"stroke"`
	Width  float64    `json:"stroke_width"`
	Color  string     `json:"color"`
	Text   *string    `json:"text"`
	Font   string     `json:"font"`

	path *vg.Path
}

type asset struct {
	Digest string `json:"digest"`
	Type   string `json:"type"`
}

// layer is one thing drawn. Which of its parts mean anything depends on Kind.
type layer struct {
	Kind    string      `json:"kind"`
	Name    string      `json:"name"`
	Box     *[4]float64 `json:"box"`
	When    []condition `json:"when"`
	Opacity *float64    `json:"opacity"`
	Layers  []*layer    `json:"layers"` // group

	Fill        *paintSpec `json:"fill"` // rect, ellipse, path
	Stroke      *paintSpec `json:"stroke"`
	StrokeWidth float64    `json:"stroke_width"`
	Radius      float64    `json:"radius"`
	Shadow      *shadow    `json:"shadow"`
	Path        string     `json:"path"`
	ViewBox     [2]float64 `json:"view_box"`

	Parts        []part   `json:"parts"` // text
	Font         string   `json:"font"`
	Bold         bool     `json:"bold"`
	Italic       bool     `json:"italic"`
	Size         float64  `json:"size"` // text, icons
	MinSize      float64  `json:"min_size"`
	Color        string   `json:"color"`
	Align        string   `json:"align"`
	VAlign       string   `json:"valign"`
	LineHeight   float64  `json:"line_height"`
	Spacing      float64  `json:"spacing"`
	Case         string   `json:"case"`
	MaxLines     int      `json:"max_lines"`
	ParagraphGap float64  `json:"paragraph_gap"`
	Outline      *outline `json:"outline"`
	Symbols      string   `json:"symbols"`
	Parentheses  string   `json:"parentheses"`
	Beside       string   `json:"beside"`
	Quiet        bool     `json:"quiet"`

	Field string  `json:"field"` // icons
	Set   string  `json:"set"`
	Split string  `json:"split"`
	Gap   float64 `json:"gap"`

	Image    *asset     `json:"image"` // image
	Fit      string     `json:"fit"`   // image, art
	Position [2]float64 `json:"position"`
	Palette  []string   `json:"palette"` // art

	path  *vg.Path
	index int // among all layers of the template
}

type condition struct {
	Field   string   `json:"field"`
	Present *bool    `json:"present"`
	In      []string `json:"in"`
	Not     bool     `json:"not"`
}

type part struct {
	Text    string      `json:"text"`
	When    []condition `json:"when"`
	Bold    *bool       `json:"bold"`
	Italic  *bool       `json:"italic"`
	Color   string      `json:"color"`
	Scale   float64     `json:"scale"`
	Gap     float64     `json:"gap"`
	Divider string      `json:"divider"`
	Align   string      `json:"align"`
}

type shadow struct {
	DX    float64 `json:"dx"`
	DY    float64 `json:"dy"`
	Blur  float64 `json:"blur"`
	Color string  `json:"color"`
}

type outline struct {
	Color string  `json:"color"`
	Width float64 `json:"width"`
}

// paintSpec is a colour or a gradient; in JSON a string or an object.
type paintSpec struct {
	Color  string
	Linear *gradientSpec
	Radial *gradientSpec
}

type gradientSpec struct {
	Angle  float64    `json:"angle"` // degrees; 0 runs to the right, 90 down
	Center [2]float64 `json:"center"`
	Radius float64    `json:"radius"` // of the box's larger side
	Stops  []stopSpec `json:"stops"`
}

type stopSpec struct {
	At    float64 `json:"at"`
	Color string  `json:"color"`
}

func (p *paintSpec) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &p.Color)
	}
	var g struct {
		Linear *gradientSpec `json:"linear"`
		Radial *gradientSpec `json:"radial"`
	}
	if err := json.Unmarshal(data, &g); err != nil {
		return err
	}
	p.Linear, p.Radial = g.Linear, g.Radial
	if (p.Linear == nil) == (p.Radial == nil) {
		return errors.New("a paint is a colour, a linear or a radial gradient")
	}
	return nil
}

// stops returns the gradient, or nil.
func (p *paintSpec) gradient() *gradientSpec {
	if p.Linear != nil {
		return p.Linear
	}
	return p.Radial
}

func parseBundle(data []byte) (*bundle, error) {
	if len(data) > maxBundleBytes {
		return nil, fmt.Errorf("a bundle of %d bytes; at most %d are allowed", len(data), maxBundleBytes)
	}
	var b bundle
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return nil, err
	}
	if b.Format != bundleFormat {
		return nil, fmt.Errorf("bundle format %d; this renderer reads format %d", b.Format, bundleFormat)
	}
	if b.Width < 1 || b.Height < 1 || b.Width > maxPixels/b.Height {
		return nil, fmt.Errorf("a card of %d x %d pixels; at most %d pixels are allowed", b.Width, b.Height, maxPixels)
	}
	if b.DPI < 1 || b.DPI > 5000 {
		return nil, fmt.Errorf("dpi %g is not between 1 and 5000", b.DPI)
	}
	return &b, b.check()
}

func (b *bundle) check() error {
	for family, faces := range b.Fonts {
		if faces["regular"] == "" {
			return fmt.Errorf("fonts.%s has no regular face", family)
		}
		for _, digest := range faces {
			if !digestForm.MatchString(digest) {
				return fmt.Errorf("fonts.%s: %q is not a digest", family, digest)
			}
		}
	}
	for _, digest := range b.Fallback {
		if !digestForm.MatchString(digest) {
			return fmt.Errorf("fallback: %q is not a digest", digest)
		}
	}
	for name, set := range b.Icons {
		for _, ic := range append(slices.Clone(set.Symbols), set.Default) {
			if ic == nil {
				continue
			}
			if err := ic.check(b); err != nil {
				return fmt.Errorf("icons.%s.%s: %w", name, ic.Key, err)
			}
		}
	}
	count := 0
	return b.checkLayers(b.Layers, 0, &count)
}

func (i *icon) check(b *bundle) error {
	if i.Font != "" && b.Fonts[i.Font] == nil {
		return fmt.Errorf("there is no font %q", i.Font)
	}
	if i.Image != nil && !digestForm.MatchString(i.Image.Digest) {
		return fmt.Errorf("%q is not a digest", i.Image.Digest)
	}
	if i.Path == "" {
		return nil
	}
	var err error
	i.path, err = vg.ParsePath(i.Path)
	return err
}

var kinds = []string{"group", "rect", "ellipse", "path", "text", "art", "image", "icons"}

func (b *bundle) checkLayers(layers []*layer, depth int, count *int) error {
	if depth > maxGroupDepth {
		return fmt.Errorf("groups nested more than %d deep", maxGroupDepth)
	}
	for _, l := range layers {
		if l == nil {
			return errors.New("a layer is null")
		}
		if *count++; *count > maxLayers {
			return fmt.Errorf("more than %d layers", maxLayers)
		}
		l.index = *count
		where := fmt.Sprintf("layer %d (%s %s)", *count, l.Kind, l.Name)
		if !slices.Contains(kinds, l.Kind) {
			return fmt.Errorf("%s: unknown kind; one of %v is needed", where, kinds)
		}
		if l.Kind != "group" {
			if l.Box == nil || !(l.Box[2] > 0 && l.Box[3] > 0) {
				return fmt.Errorf("%s: a box with a width and a height is needed", where)
			}
			for _, v := range l.Box {
				if !(v > -20000 && v < 20000) {
					return fmt.Errorf("%s: box value %g is out of range", where, v)
				}
			}
		}
		switch l.Kind {
		case "text":
			if b.Fonts[l.Font] == nil {
				return fmt.Errorf("%s: there is no font %q", where, l.Font)
			}
			if !(l.Size > 1 && l.Size < 2000) || l.MinSize < 0 || l.MinSize > l.Size {
				return fmt.Errorf("%s: size %g, min_size %g", where, l.Size, l.MinSize)
			}
			if len(l.Parts) == 0 || len(l.Parts) > 50 {
				return fmt.Errorf("%s: has %d parts; 1 to 50 are needed", where, len(l.Parts))
			}
			if l.LineHeight < 0 || l.LineHeight > 10 {
				return fmt.Errorf("%s: line_height %g", where, l.LineHeight)
			}
			for _, p := range l.Parts {
				if p.Scale < 0 || p.Scale > 10 {
					return fmt.Errorf("%s: scale %g", where, p.Scale)
				}
			}
		case "icons":
			if _, ok := b.Icons[l.Set]; !ok {
				return fmt.Errorf("%s: there is no icon set %q", where, l.Set)
			}
			if !(l.Size > 1 && l.Size < 2000) {
				return fmt.Errorf("%s: size %g", where, l.Size)
			}
		case "image":
			if l.Image == nil || !digestForm.MatchString(l.Image.Digest) {
				return fmt.Errorf("%s: an image's digest is needed", where)
			}
		case "path":
			var err error
			if l.path, err = vg.ParsePath(l.Path); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			if !(l.ViewBox[0] > 0 && l.ViewBox[1] > 0) {
				return fmt.Errorf("%s: view_box is needed", where)
			}
		case "group":
			if err := b.checkLayers(l.Layers, depth+1, count); err != nil {
				return err
			}
		}
		if l.Symbols != "" {
			if _, ok := b.Icons[l.Symbols]; !ok {
				return fmt.Errorf("%s: there is no icon set %q", where, l.Symbols)
			}
		}
	}
	return nil
}
