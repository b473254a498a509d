package pngenc

import (
	"encoding/binary"

	"platform-kit/render/internal/lanes"
)

// The filters of PNG that are used. Paeth would save a little more on some pictures but takes far longer.
const (
	filterSub = 1
	filterUp  = 2
	filterAvg = 3
)

// filter appends a row to out: the filter's number and, without their alpha, the pixels less what the filter
// predicts. above is the row above, or nil at the top.
func filter(out, row, above []uint8) []uint8 {
	kind := byte(filterSub)
	if above != nil {
		kind = choose(row, above)
	}
	start := len(out)
	size := 1 + len(row)/4*3
	out = grow(out, size+8) // pairs of pixels are written as eight bytes of which six count
	out[start] = kind
	to := out[start+1 : start+size+8]
	switch kind { // the first pixel has none on its left
	case filterSub:
		pixel(to, lanes.Sub(uint64(binary.LittleEndian.Uint32(row)), 0))
		subtract(to[3:], row[4:], row)
	case filterUp:
		subtract(to, row, above)
	case filterAvg:
		half := lanes.Mean(0, uint64(binary.LittleEndian.Uint32(above)))
		pixel(to, lanes.Sub(uint64(binary.LittleEndian.Uint32(row)), half))
		average(to[3:], row[4:], row, above[4:])
	}
	return out[:start+size]
}

// subtract writes row less base as RGB.
func subtract(to, row, base []uint8) {
	base = base[:len(row)]
	for len(row) >= 8 && len(base) >= 8 && len(to) >= 8 {
		pair(to, lanes.Sub(binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(base)))
		row, base, to = row[8:], base[8:], to[6:]
	}
	if len(row) > 0 {
		pixel(to, lanes.Sub(uint64(binary.LittleEndian.Uint32(row)), uint64(binary.LittleEndian.Uint32(base))))
	}
}

// average writes row less the mean of left and above as RGB.
func average(to, row, left, above []uint8) {
	left, above = left[:len(row)], above[:len(row)]
	for len(row) >= 8 && len(left) >= 8 && len(above) >= 8 && len(to) >= 8 {
		half := lanes.Mean(binary.LittleEndian.Uint64(left), binary.LittleEndian.Uint64(above))
		pair(to, lanes.Sub(binary.LittleEndian.Uint64(row), half))
		row, left, above, to = row[8:], left[8:], above[8:], to[6:]
	}
	if len(row) > 0 {
		half := lanes.Mean(uint64(binary.LittleEndian.Uint32(left)), uint64(binary.LittleEndian.Uint32(above)))
		pixel(to, lanes.Sub(uint64(binary.LittleEndian.Uint32(row)), half))
	}
}

// pair writes two pixels without their alpha; the two bytes after them get anything.
func pair(to []uint8, v uint64) {
	binary.LittleEndian.PutUint64(to, lanes.RGB(v))
}

// pixel writes one pixel without its alpha; the byte after it gets anything.
func pixel(to []uint8, v uint64) {
	binary.LittleEndian.PutUint32(to, uint32(v))
}

// choose takes the filter that leaves the smallest differences, judged by a part of the row.
func choose(row, above []uint8) byte {
	var sub, up, avg uint64
	above = above[:len(row)]
	for i := 4; i+8 <= len(row); i += 48 {
		v, a, l := binary.LittleEndian.Uint64(row[i:]), binary.LittleEndian.Uint64(above[i:]), binary.LittleEndian.Uint64(row[i-4:])
		sub += lanes.Sum(lanes.Abs(lanes.Sub(v, l)))
		up += lanes.Sum(lanes.Abs(lanes.Sub(v, a)))
		avg += lanes.Sum(lanes.Abs(lanes.Sub(v, lanes.Mean(l, a))))
	}
	switch {
	case up <= sub && up <= avg:
		return filterUp
	case sub <= avg:
		return filterSub
	}
	return filterAvg
}

// grow makes out longer by n bytes.
func grow(out []uint8, n int) []uint8 {
	if cap(out)-len(out) < n {
		out = append(make([]uint8, 0, 2*len(out)+n), out...)
	}
	return out[:len(out)+n]
}
