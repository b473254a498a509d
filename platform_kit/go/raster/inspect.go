package raster

import (
	"bytes"
	"encoding/binary"
)

const (
	// MaxPixels bounds the pixels of one picture.
	MaxPixels = 40_000_000
	// MaxSide bounds its longer side, to what a JPEG can have. Scaling keeps some rows in memory, as wide as they are.
	MaxSide = 65_535
	// MaxCost bounds the memory one picture may need while it is decoded.
	MaxCost = 192 << 20
	// maxScans bounds the passes of a progressive JPEG: each of a few bytes makes the decoder walk the whole picture.
	maxScans = 100
	// maxProfile bounds a colour profile.
	maxProfile = 1 << 20
)

// Info is what a picture's headers say, before any pixel is decoded.
type Info struct {
	Kind          string
	Width, Height int    // as stored, before the picture is turned upright; 0 for SVG
	Orientation   int    // EXIF: 1 upright, up to 8
	Cost          int64  // the memory that decoding takes
	Profile       []byte // an ICC profile
	CMYK          bool
}

// Inspect reads a raster picture's headers and refuses what must not be decoded: more pixels or memory than allowed,
// moving pictures, files that are not whole at first sight.
func Inspect(data []byte) (Info, error) {
	kind, err := Sniff(data)
	if err != nil {
		return Info{}, err
	}
	info := Info{Kind: kind, Orientation: 1}
	switch kind {
	case PNG:
		err = info.png(data)
	case JPEG:
		err = info.jpeg(data)
	case WebP:
		err = info.webp(data)
	default:
		err = Refuse("%s has no pixels of its own", Label(kind))
	}
	if err != nil {
		return info, err
	}
	if info.Width < 1 || info.Height < 1 {
		return info, Refuse("a %s of %d x %d pixels", Label(kind), info.Width, info.Height)
	}
	if info.Width > MaxPixels/info.Height {
		return info, Refuse("%d x %d pixels; at most %d million pixels are allowed",
			info.Width, info.Height, MaxPixels/1_000_000)
	}
	if longer := max(info.Width, info.Height); longer > MaxSide {
		return info, Refuse("%d x %d pixels; at most %d a side are allowed", info.Width, info.Height, MaxSide)
	}
	if info.Cost > MaxCost {
		return info, Refuse("%d x %d pixels of this kind of %s take %d MB to decode; at most %d MB are allowed",
			info.Width, info.Height, Label(kind), info.Cost>>20, MaxCost>>20)
	}
	return info, nil
}

// png walks the chunks before the pixels.
func (i *Info) png(data []byte) error {
	torn := Refuse("not a whole PNG file: it ends within its header")
	var depth, colour, interlaced byte
	var transparent bool
	for rest := data[8:]; ; {
		if len(rest) < 12 {
			return torn
		}
		size, kind := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if size > int64(len(rest)-12) && kind != "IDAT" {
			return torn
		}
		body := rest[8:min(int64(len(rest)), 8+size)]
		switch kind {
		case "IHDR":
			if len(body) != 13 {
				return Refuse("not a readable PNG file: its header has %d bytes", len(body))
			}
			w, h := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
			if w > 1<<30 || h > 1<<30 {
				return Refuse("%d x %d pixels; at most %d million pixels are allowed", w, h, MaxPixels/1_000_000)
			}
			i.Width, i.Height = int(w), int(h)
			depth, colour, interlaced = body[8], body[9], body[12]
		case "acTL":
			return Refuse("an animated PNG; save one picture of it")
		case "tRNS":
			transparent = true
		case "eXIf":
			i.Orientation = orientation(body)
		case "iCCP":
			if _, packed, ok := bytes.Cut(body, []byte{0}); ok && len(packed) > 1 {
				i.Profile = inflate(packed[1:])
			}
		case "IDAT", "IEND":
			pixel := int64(4)
			switch {
			case colour == 3, colour == 0 && depth <= 8 && !transparent:
				pixel = 1
			case colour == 0 && depth == 16 && !transparent:
				pixel = 2
			case depth == 16:
				pixel = 8
			}
			i.Cost = pixel * int64(i.Width) * int64(i.Height)
			if interlaced != 0 {
				i.Cost += i.Cost / 2
			}
			return nil
		}
		rest = rest[12+size:]
	}
}

// jpeg walks the segments up to the first scan, then counts the scans.
func (i *Info) jpeg(data []byte) error {
	torn := Refuse("not a whole JPEG file: it ends within its header")
	profile := map[byte][]byte{}
	for at := 2; ; {
		for at < len(data) && data[at] == 0xff && at+1 < len(data) && data[at+1] == 0xff {
			at++ // fill
		}
		if at+4 > len(data) {
			return torn
		}
		if data[at] != 0xff {
			return Refuse("not a readable JPEG file: a segment is missing")
		}
		marker, size := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == 0xd9 {
			return torn
		}
		if size < 2 || at+2+size > len(data) {
			return torn
		}
		body := data[at+4 : at+2+size]
		switch {
		case marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")):
			i.Orientation = orientation(body[6:])
		case marker == 0xe2 && bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")) && len(body) > 14:
			profile[body[12]] = body[14:]
		case marker == 0xc0, marker == 0xc1, marker == 0xc2:
			if err := i.frame(body, marker == 0xc2); err != nil {
				return err
			}
		case marker >= 0xc3 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return Refuse("a lossless, hierarchical or arithmetic JPEG, which few programs read; save it as a usual one")
		case marker == 0xda:
			for n := byte(1); n != 0 && profile[n] != nil && len(i.Profile) <= maxProfile; n++ {
				i.Profile = append(i.Profile, profile[n]...)
			}
			if n := bytes.Count(data[at:], []byte{0xff, 0xda}); n > maxScans {
				return Refuse("a JPEG of %d scans; at most %d are allowed", n, maxScans)
			}
			return nil
		}
		at += 2 + size
	}
}

// frame reads a JPEG's frame header.
func (i *Info) frame(body []byte, progressive bool) error {
	if i.Width != 0 {
		return Refuse("a JPEG of several frames")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) || body[5] == 0 {
		return Refuse("not a readable JPEG file: its frame header is damaged")
	}
	i.Height, i.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	i.CMYK = body[5] == 4
	var largest, sum int64 = 1, 0
	for n := range int(body[5]) {
		factor := int64(body[7+3*n]>>4) * int64(body[7+3*n]&15)
		largest, sum = max(largest, factor), sum+factor
	}
	pixels := int64(i.Width+16) * int64(i.Height+16)
	i.Cost = pixels * sum / largest
	if progressive {
		i.Cost += 4 * i.Cost // coefficients are kept until the last scan
	}
	if body[5] == 4 {
		i.Cost += 4 * pixels
	}
	return nil
}

// webp walks the chunks. The decoder trusts each chunk's own idea of its size, so all must agree.
func (i *Info) webp(data []byte) error {
	torn := Refuse("not a whole WebP file: it ends too early")
	if size := int64(binary.LittleEndian.Uint32(data[4:])); size+8 > int64(len(data)) {
		return torn
	}
	canvas, alpha := false, false
	size := func(w, h int) error {
		if canvas && (w != i.Width || h != i.Height) {
			return Refuse("a WebP of %d x %d pixels that holds a picture of %d x %d", i.Width, i.Height, w, h)
		}
		i.Width, i.Height = w, h
		return nil
	}
	for rest := data[12:]; len(rest) >= 8; {
		n, kind := int64(binary.LittleEndian.Uint32(rest[4:])), string(rest[:4])
		if n > int64(len(rest)-8) {
			return torn
		}
		body := rest[8 : 8+n]
		var err error
		switch kind {
		case "VP8X":
			if len(body) != 10 {
				return Refuse("not a readable WebP file: its header has %d bytes", len(body))
			}
			if body[0]&2 != 0 {
				return Refuse("an animated WebP; save one picture of it")
			}
			i.Width = 1 + (int(body[4]) | int(body[5])<<8 | int(body[6])<<16)
			i.Height = 1 + (int(body[7]) | int(body[8])<<8 | int(body[9])<<16)
			canvas = true
		case "ANIM", "ANMF":
			return Refuse("an animated WebP; save one picture of it")
		case "ALPH":
			alpha = true
		case "ICCP":
			i.Profile = body
		case "VP8 ":
			if len(body) < 10 || string(body[3:6]) != "\x9d\x01\x2a" {
				return Refuse("not a readable WebP file: its frame header is damaged")
			}
			err = size(int(binary.LittleEndian.Uint16(body[6:])&0x3fff), int(binary.LittleEndian.Uint16(body[8:])&0x3fff))
			i.Cost = int64(i.Width+16) * int64(i.Height+16) * 2
			if alpha {
				i.Cost += 5 * int64(i.Width) * int64(i.Height)
			}
		case "VP8L":
			if len(body) < 5 || body[0] != 0x2f {
				return Refuse("not a readable WebP file: its frame header is damaged")
			}
			bits := binary.LittleEndian.Uint32(body[1:])
			err = size(1+int(bits&0x3fff), 1+int(bits>>14&0x3fff))
			i.Cost = 6 * int64(i.Width) * int64(i.Height)
		case "EXIF":
			i.Orientation = orientation(bytes.TrimPrefix(body, []byte("Exif\x00\x00")))
		}
		if err != nil {
			return err
		}
		rest = rest[min(int64(len(rest)), 8+n+n&1):]
	}
	if i.Cost == 0 {
		return Refuse("a WebP without a picture")
	}
	return nil
}

// orientation reads the one EXIF field that changes how a picture looks.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(tiff[:2]) == "MM" {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for n := int(order.Uint16(tiff[at:])); n > 0 && len(entries) >= 12; n-- {
		if order.Uint16(entries) == 0x0112 {
			if value := int(order.Uint16(entries[8:])); value >= 1 && value <= 8 {
				return value
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}
