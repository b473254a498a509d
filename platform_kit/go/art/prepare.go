// Package art prepares pictures: it refuses what is broken or hostile in bounded memory and time, and makes of the
// rest a normal form, a thumbnail and a place in a sprite atlas. The same input gives the same bytes.
package art

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"runtime/debug"
	"strings"
	"time"

	"platform-kit/raster"
	"platform-kit/render"
)

const (
	// MaxSide is the longest side a normal form may be asked to have.
	MaxSide = 1536
	// MaxThumbnail is that of a thumbnail.
	MaxThumbnail = 512
	// MaxFileBytes leaves room for headers below the server's max_payload of 8 MiB.
	MaxFileBytes = 15 << 19
)

// Refused says why a picture cannot be used. Trying again will not help.
type Refused = raster.Refused

// Options say what is made of a picture. Sizes are of the longer side, in pixels; nothing is made larger than it is,
// but for an SVG, which has no pixels of its own.
type Options struct {
	LongestSide   int `json:"longest_side"`
	ThumbnailSide int `json:"thumbnail_side"`
}

// Check tells what is wrong with the options.
func (o Options) Check() error {
	if o.LongestSide < 16 || o.LongestSide > MaxSide {
		return fmt.Errorf("longest_side is %d; it has to be 16 to %d", o.LongestSide, MaxSide)
	}
	if o.ThumbnailSide < 8 || o.ThumbnailSide > MaxThumbnail {
		return fmt.Errorf("thumbnail_side is %d; it has to be 8 to %d", o.ThumbnailSide, MaxThumbnail)
	}
	return nil
}

// File is something that was made: a PNG or a manifest.
type File struct {
	Digest string `json:"digest"` // the SHA-256 of its bytes
	Bytes  int    `json:"bytes"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	data   []byte
}

// Data is the file's content.
func (f *File) Data() []byte { return f.data }

func newFile(data []byte, w, h int) *File {
	sum := sha256.Sum256(data)
	return &File{Digest: hex.EncodeToString(sum[:]), Bytes: len(data), Width: w, Height: h, data: data}
}

// Prepared is what was made of a picture.
type Prepared struct {
	Info      raster.Info
	Picture   *File
	Thumbnail *File
	Opaque    bool
	Warnings  []string
	Decode    time.Duration
	Scale     time.Duration
	Encode    time.Duration
}

// Inspect reads a picture's headers and refuses what must not be decoded, or is of another kind than its extension says.
func Inspect(data []byte, extension string) (raster.Info, error) {
	kind, err := raster.Sniff(data)
	if err != nil {
		return raster.Info{}, err
	}
	if extension = strings.ToLower(strings.TrimPrefix(extension, ".")); !raster.HasExtension(kind, extension) {
		return raster.Info{}, raster.Refuse("the file's name ends in .%.20s, its content is %s; name it .%s",
			extension, raster.Label(kind), raster.Extension(kind))
	}
	if kind == raster.SVG {
		return inspectSVG(data)
	}
	return raster.Inspect(data)
}

// Studio prepares pictures, several at once as far as the memory goes. The zero value is not usable.
type Studio struct{ room *raster.Room }

// NewStudio returns a studio with a budget of memory of its own.
func NewStudio() *Studio { return &Studio{raster.NewRoom(raster.Memory)} }

// Prepare checks, decodes and makes a picture. The error is a [*Refused] if the picture is at fault.
func (s *Studio) Prepare(ctx context.Context, data []byte, extension string, o Options) (*Prepared, error) {
	info, err := Inspect(data, extension)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Info: info}
	normal, err := s.normal(ctx, p, data, o)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	b := normal.Bounds()
	p.Opaque = normal.Opaque()
	for shrunk := false; ; shrunk = true {
		packed, err := encode(normal)
		if err != nil {
			return nil, err
		}
		if p.Picture = newFile(packed, b.Dx(), b.Dy()); len(packed) <= MaxFileBytes {
			if shrunk {
				p.Warnings = append(p.Warnings, fmt.Sprintf(
					"made smaller, %d x %d, to fit %d bytes", b.Dx(), b.Dy(), MaxFileBytes))
			}
			break
		}
		normal = raster.Scaled(normal, max(1, b.Dx()*3/4), max(1, b.Dy()*3/4))
		b = normal.Bounds()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.Encode = time.Since(started)
	started = time.Now()
	w, h := fit(b.Dx(), b.Dy(), o.ThumbnailSide)
	small := raster.Scaled(normal, w, h)
	p.Scale += time.Since(started)
	started = time.Now()
	thumbnail, err := encode(small)
	if err != nil {
		return nil, err
	}
	p.Thumbnail = newFile(thumbnail, w, h)
	p.Encode += time.Since(started)
	return p, nil
}

// normal decodes a picture and gives it its size, its colours and its right side up.
func (s *Studio) normal(ctx context.Context, p *Prepared, data []byte, o Options) (*image.NRGBA, error) {
	leave, err := s.room.Enter(ctx, p.Info.Cost)
	if err != nil {
		return nil, err
	}
	defer leave()
	started := time.Now()
	if p.Info.Kind == raster.SVG {
		drawn, err := render.DrawSVG(ctx, data, o.LongestSide)
		var reject *render.RejectError
		switch {
		case errors.As(err, &reject):
			return nil, &Refused{Reason: reject.Reason}
		case err != nil:
			return nil, err
		}
		if drawn.Texts {
			p.Warnings = append(p.Warnings, "its text is left out; a card sets it in the template's fonts")
		}
		p.Decode = time.Since(started)
		return raster.Plain(drawn.Image), nil
	}
	img, err := raster.Decode(ctx, data, p.Info)
	if err != nil {
		return nil, err
	}
	p.Decode = time.Since(started)
	started = time.Now()
	b := img.Bounds()
	w, h := fit(b.Dx(), b.Dy(), o.LongestSide)
	normal := raster.Upright(raster.Scaled(img, w, h), p.Info.Orientation)
	p.colours(normal)
	p.Scale = time.Since(started)
	return normal, nil
}

func (p *Prepared) colours(img *image.NRGBA) {
	switch {
	case p.Info.CMYK:
		p.Warnings = append(p.Warnings, "CMYK, converted to sRGB without a profile: colours may look different")
	case p.Info.Profile == nil:
	default:
		colours := raster.ParseProfile(p.Info.Profile)
		switch {
		case colours == nil:
			p.Warnings = append(p.Warnings, "its colour profile is of a kind that cannot be used; taken as sRGB")
		case !colours.IsSRGB():
			colours.Apply(img)
		}
	}
}

// fit returns the size of a picture whose longer side is at most side.
func fit(w, h, side int) (int, int) {
	longer := max(w, h)
	if longer <= side {
		return w, h
	}
	return max(1, (w*side+longer/2)/longer), max(1, (h*side+longer/2)/longer)
}

// encode writes a PNG that says it is sRGB and nothing of where it comes from.
func encode(img *image.NRGBA) ([]byte, error) {
	if img.Opaque() && img.Stride == 4*img.Rect.Dx() {
		return render.EncodeOpaque(img.Pix, img.Rect.Dx(), img.Rect.Dy()), nil
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, img); err != nil {
		return nil, err
	}
	const head = 8 + 25 // signature and IHDR
	chunk := []byte{0, 0, 0, 1, 's', 'R', 'G', 'B', 0}
	sum := crc32.ChecksumIEEE(chunk[4:])
	chunk = append(chunk, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	data := make([]byte, 0, out.Len()+len(chunk))
	data = append(data, out.Bytes()[:head]...)
	data = append(data, chunk...)
	return append(data, out.Bytes()[head:]...), nil
}

// LimitMemory asks the garbage collector to keep the process near what pictures may need.
func LimitMemory() { debug.SetMemoryLimit(raster.Memory + 64<<20) }
