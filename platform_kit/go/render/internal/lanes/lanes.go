// Package lanes computes with eight bytes at once, each for itself, in an ordinary 64-bit number.
package lanes

const (
	high = 0x8080808080808080
	ones = 0x0101010101010101
)

// Add adds bytes.
func Add(a, b uint64) uint64 { return ((a &^ high) + (b &^ high)) ^ ((a ^ b) & high) }

// Sub subtracts bytes.
func Sub(a, b uint64) uint64 { return ((a | high) - (b &^ high)) ^ ((a ^ ^b) & high) }

// Mean is the mean of bytes, rounded down.
func Mean(a, b uint64) uint64 { return a&b + (a^b)>>1&^uint64(high) }

// Abs is the size of bytes taken as signed: 255 - b + 1 for those above 127.
func Abs(v uint64) uint64 {
	negative := v >> 7 & ones
	return (v ^ negative*255) + negative
}

// Sum adds the eight bytes up.
func Sum(v uint64) uint64 {
	v = v&0x00ff00ff00ff00ff + v>>8&0x00ff00ff00ff00ff
	return v * 0x0001000100010001 >> 48
}

// RGB takes the alpha out of two RGBA pixels: six bytes, and two zeros above them.
func RGB(v uint64) uint64 { return v&0xffffff | v>>8&0xffffff000000 }

// RGBA is the inverse of [RGB], with an alpha of zero.
func RGBA(v uint64) uint64 { return v&0xffffff | v<<8&0x00ffffff00000000 }
