package raster

import "image"

// turn leads from a place of the picture that stands upright to its place in the file: the axes may be swapped, then
// each may run backwards.
type turn struct{ swapped, leftward, upward bool }

// turns are EXIF's orientations, from 1 on.
var turns = [8]turn{
	{}, {leftward: true}, {leftward: true, upward: true}, {upward: true},
	{swapped: true}, {swapped: true, upward: true}, {true, true, true}, {swapped: true, leftward: true},
}

// turnOf is that of an orientation; whatever is none means upright.
func turnOf(orientation int) turn {
	if orientation < 1 || orientation > len(turns) {
		return turn{}
	}
	return turns[orientation-1]
}

// Sideways tells whether a picture of this orientation is as wide upright as it is high in the file.
func Sideways(orientation int) bool { return turnOf(orientation).swapped }

// Size is how wide and how high the picture is when it stands upright.
func (i Info) Size() (w, h int) {
	if Sideways(i.Orientation) {
		return i.Height, i.Width
	}
	return i.Width, i.Height
}

// Stored leads from a part of the upright picture, counted from its corner, to the same part of the picture as it is in
// the file, whose bounds are b.
func Stored(part, b image.Rectangle, orientation int) image.Rectangle {
	t := turnOf(orientation)
	if t.swapped {
		part = image.Rect(part.Min.Y, part.Min.X, part.Max.Y, part.Max.X)
	}
	if t.leftward {
		part.Min.X, part.Max.X = b.Dx()-part.Max.X, b.Dx()-part.Min.X
	}
	if t.upward {
		part.Min.Y, part.Max.Y = b.Dy()-part.Max.Y, b.Dy()-part.Min.Y
	}
	return part.Add(b.Min)
}

// Upright turns a picture as its EXIF orientation says.
func Upright(img *image.NRGBA, orientation int) *image.NRGBA {
	t := turnOf(orientation)
	if t == (turn{}) {
		return img
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if t.swapped {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			sx, sy := x, y
			if t.swapped {
				sx, sy = y, x
			}
			if t.leftward {
				sx = w - 1 - sx
			}
			if t.upward {
				sy = h - 1 - sy
			}
			copy(out.Pix[y*out.Stride+4*x:][:4], img.Pix[sy*img.Stride+4*sx:])
		}
	}
	return out
}
