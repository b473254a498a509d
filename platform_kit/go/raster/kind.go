// Package raster reads pictures from strangers, for cards and for the asset pipeline alike: it tells what they are, weighs
// them before a pixel is decoded, and gives them their size and their right side up, in bounded memory and time and with
// the same pixels everywhere.
package raster

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Kinds of pictures. An SVG is only told from the others here.
const (
	PNG  = "png"
	JPEG = "jpeg"
	WebP = "webp"
	SVG  = "svg"
)

// MaxBytes bounds the file of a picture of any kind.
const MaxBytes = 32 << 20

// Refused says why a picture cannot be used. Trying again will not help.
type Refused struct{ Reason string }

func (e *Refused) Error() string { return e.Reason }

// Refuse returns a [*Refused].
func Refuse(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// extensions of each kind; the first is the usual one.
var extensions = map[string][]string{PNG: {"png"}, JPEG: {"jpg", "jpeg"}, WebP: {"webp"}, SVG: {"svg"}}

// others are formats that are known and not taken.
var others = []struct {
	name  string
	magic string
	at    int
}{
	{"gzip, such as an .svgz", "\x1f\x8b", 0}, {"GIF", "GIF8", 0}, {"BMP", "BM", 0}, {"TIFF", "II*\x00", 0},
	{"TIFF", "MM\x00*", 0}, {"AVIF", "ftypavif", 4}, {"HEIC", "ftyphei", 4}, {"HEIF", "ftypmif1", 4}, {"PDF", "%PDF", 0},
	{"a ZIP archive", "PK\x03\x04", 0}, {"a Photoshop file", "8BPS", 0}, {"UTF-16 text", "\xff\xfe", 0},
	{"UTF-16 text", "\xfe\xff", 0}, {"JPEG XL", "\xff\x0a", 0}, {"a program", "\x7fELF", 0},
}

// Sniff tells a picture's kind by its first bytes.
func Sniff(data []byte) (string, error) {
	switch {
	case len(data) == 0:
		return "", Refuse("the file is empty")
	case len(data) > MaxBytes:
		return "", Refuse("the file has %d bytes; at most %d are allowed", len(data), MaxBytes)
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return PNG, nil
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return JPEG, nil
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return WebP, nil
	}
	for _, other := range others {
		if len(data) > other.at && bytes.HasPrefix(data[other.at:], []byte(other.magic)) {
			return "", Refuse("the content is %s; art is PNG, JPEG, WebP or plain SVG", other.name)
		}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	if bytes.HasPrefix(text, []byte("<")) {
		return SVG, nil
	}
	return "", Refuse("the content is neither PNG, JPEG, WebP nor SVG")
}

// Label is a kind's name for people.
func Label(kind string) string {
	if kind == WebP {
		return "WebP"
	}
	return strings.ToUpper(kind)
}

// Extension is the usual one of a kind, without the dot.
func Extension(kind string) string { return extensions[kind][0] }

// HasExtension tells whether files of a kind may have this extension, in lower case and without the dot.
func HasExtension(kind, extension string) bool { return slices.Contains(extensions[kind], extension) }
