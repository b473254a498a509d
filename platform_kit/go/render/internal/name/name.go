// Package name gives things short names by what they are made of.
package name

import (
	"encoding/binary"
	"hash/maphash"
	"math"
)

// Name stands for all that was written into a [Builder]: two hashes of 64 bits, each with a random seed of this
// process, so that no two things are mistaken for each other, not even on purpose. The zero name stands for nothing.
type Name struct{ a, b uint64 }

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// Of names bytes.
func Of(data []byte) Name { return Name{maphash.Bytes(seeds[0], data), maphash.Bytes(seeds[1], data)} }

// Halves are the two hashes.
func (n Name) Halves() (a, b uint64) { return n.a, n.b }

// Builder puts together what a name stands for.
type Builder []byte

// Byte writes one byte.
func (b *Builder) Byte(v byte) { *b = append(*b, v) }

// Int writes a number.
func (b *Builder) Int(v int) { *b = binary.LittleEndian.AppendUint64(*b, uint64(v)) }

// Float writes a number to its last bit.
func (b *Builder) Float(v float64) { *b = binary.LittleEndian.AppendUint64(*b, math.Float64bits(v)) }

// Text writes a text and how long it is, so that it cannot be taken for a part of what comes before or after.
func (b *Builder) Text(s string) {
	b.Int(len(s))
	*b = append(*b, s...)
}

// Name writes the name of a part.
func (b *Builder) Name(n Name) {
	*b = binary.LittleEndian.AppendUint64(*b, n.a)
	*b = binary.LittleEndian.AppendUint64(*b, n.b)
}

// Done returns the name of all that was written.
func (b *Builder) Done() Name { return Of(*b) }
