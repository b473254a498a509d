package pngenc

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/flate"
)

// Most of what filters leave of a picture repeats nothing but the pixel before. Patterns do, and pictures with few
// colours: for them it pays to look for matches far back, which takes several times as long. A look at a few places
// tells.

// repeats tells whether most of data occurs in it more than once, other than by repeating the pixel before: whether
// what is found at some places was there before.
func repeats(data []byte) bool {
	const (
		places = 64
		length = 32 // shorter repetitions are found in any picture of few shades, and gain little
		slots  = 1 << 13
		prime  = 0x9e3779b97f4a7c15
	)
	step := (len(data) - length - 8) / places
	if step < 16 {
		return false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(data[i:]) }
	var table [slots]uint32 // where a word was seen, by hash
	found, looked, at := 0, 0, distance
	for k := 1; k <= places; k++ {
		i := k * step
		for ; at+length <= i; at += 8 {
			if w := word(at); w != word(at-distance) {
				table[w*prime>>51] = uint32(at)
			}
		}
		if word(i) == word(i-distance) {
			continue // that needs no search
		}
		looked++
		for end := i + 8; i < end; i++ { // only every eighth place was noted
			seen := int(table[word(i)*prime>>51])
			if seen > 0 && bytes.Equal(data[seen:seen+length], data[i:i+length]) {
				found++
				break
			}
		}
	}
	return looked >= places/8 && 2*found > looked
}

// matcher compresses with matches as far back as deflate allows.
type matcher struct {
	out bytes.Buffer
	z   *flate.Writer
}

// blocks returns data as deflate blocks of which none is the last, up to a whole byte.
func (m *matcher) blocks(data []byte) []byte {
	m.out.Reset()
	if m.z == nil {
		m.z, _ = flate.NewWriter(&m.out, 1) // a level that exists is no error
	} else {
		m.z.Reset(&m.out)
	}
	m.z.Write(data) // to memory: it cannot fail
	m.z.Flush()
	return m.out.Bytes()
}
