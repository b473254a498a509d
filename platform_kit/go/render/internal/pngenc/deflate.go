package pngenc

import (
	"encoding/binary"
	"math/bits"
)

// A block of deflate has this many literals and lengths: 256 bytes, the end of the block, 29 lengths.
const (
	endOfBlock = 256
	literals   = 286
)

// A match repeats what stands three bytes, a pixel, before. Other distances are not used: after filtering, a row
// that is like the one above and a plane of one colour are zeros, and a match finds those as well as any other
// repetition of a pixel. What is left is noise, for which looking for matches costs much and gains little.
const (
	distance     = 3
	distanceCode = 2
	shortest     = 8 // of a match that is worth it; bytes that repeat have short codes
	longest      = 258
)

// token is a literal, or firstMatch and the length of a match.
type token = uint16

const firstMatch = 256

// lengthCodes are the symbol, the extra bits and their number for the length of every match.
var lengthCodes = func() (out [longest + 1]struct {
	symbol, extra uint16
	bits          uint8
}) {
	first := 3
	for symbol := uint16(257); symbol < 285; symbol++ {
		bits := uint8(0)
		if symbol >= 265 {
			bits = uint8(symbol-261) / 4
		}
		for extra := range 1 << bits {
			out[first+extra].symbol, out[first+extra].extra, out[first+extra].bits = symbol, uint16(extra), bits
		}
		first += 1 << bits
	}
	out[longest].symbol, out[longest].extra, out[longest].bits = 285, 0, 0
	return out
}()

// deflater compresses bands. Its memory is used again for the next.
type deflater struct {
	tokens []token
	counts [2][literals + longest]uint32 // of tokens; two of them because adding to the same place twice is slow
	freq   [literals]uint32
	length [literals]uint8
	code   [literals]uint16
	table  [firstMatch + longest + 1]uint32 // of tokens: their bits, above the number of bits
}

// block appends data to out as one deflate block with codes of its own that is not the last, and fills up the last
// byte, so that whatever comes next begins with a whole byte.
func (d *deflater) block(out, data []byte) []byte {
	d.split(data)
	d.count()
	codeLengths(d.length[:], d.freq[:], maxBits)
	canonical(d.code[:], d.length[:])
	w := bitWriter{out: out}
	w.write(0b100, 3) // not the last block; codes of its own
	d.header(&w)
	d.tabulate()
	d.pack(&w)
	w.write(uint32(d.code[endOfBlock]), uint(d.length[endOfBlock]))
	w.write(0, 3) // an empty block without compression ends at a whole byte
	w.align()
	return append(w.out, 0, 0, 0xff, 0xff)
}

// split writes data as tokens and counts them.
func (d *deflater) split(data []byte) {
	if cap(d.tokens) < len(data)+8 {
		d.tokens = make([]token, len(data)+8)
	}
	tokens := d.tokens[:cap(d.tokens)]
	clear(d.counts[0][:])
	clear(d.counts[1][:])
	even, odd := &d.counts[0], &d.counts[1]
	n, i := 0, 0
	for ; i < distance && i < len(data); i++ {
		tokens[n] = token(data[i])
		even[data[i]]++
		n++
	}
	for i+8 <= len(data) {
		word := binary.LittleEndian.Uint64(data[i:])
		differ := word ^ binary.LittleEndian.Uint64(data[i-distance:])
		if differ == 0 {
			end := i + 8
			limit := min(len(data), i+longest)
			for end+8 <= limit && binary.LittleEndian.Uint64(data[end:]) == binary.LittleEndian.Uint64(data[end-distance:]) {
				end += 8
			}
			for end < limit && data[end] == data[end-distance] {
				end++
			}
			t := token(firstMatch + end - i)
			tokens[n] = t
			even[t]++
			n++
			i = end
			continue
		}
		// A match may begin with the bytes at the end that are repeated: the others are literals.
		step := 8 - bits.LeadingZeros64(differ)/8
		i += step
		to := tokens[n : n+8 : n+8]
		n += step
		if step == 8 {
			a, b, c, e := byte(word), byte(word>>8), byte(word>>16), byte(word>>24)
			to[0], to[1], to[2], to[3] = token(a), token(b), token(c), token(e)
			even[a]++
			odd[b]++
			even[c]++
			odd[e]++
			a, b, c, e = byte(word>>32), byte(word>>40), byte(word>>48), byte(word>>56)
			to[4], to[5], to[6], to[7] = token(a), token(b), token(c), token(e)
			even[a]++
			odd[b]++
			even[c]++
			odd[e]++
			continue
		}
		for k := range step {
			b := byte(word >> (8 * k))
			to[k] = token(b)
			even[b]++
		}
	}
	for ; i < len(data); i++ {
		tokens[n] = token(data[i])
		odd[data[i]]++
		n++
	}
	d.tokens = tokens[:n]
}

// count adds up how often each literal and length occurs.
func (d *deflater) count() {
	clear(d.freq[:])
	for s := range 256 {
		d.freq[s] = d.counts[0][s] + d.counts[1][s]
	}
	for length := shortest; length <= longest; length++ {
		d.freq[lengthCodes[length].symbol] += d.counts[0][firstMatch+length]
	}
	d.freq[endOfBlock] = 1
}

// tabulate puts together the bits of every token. A match's distance is one bit, 0.
func (d *deflater) tabulate() {
	for s := range 256 {
		d.table[s] = uint32(d.code[s])<<5 | uint32(d.length[s])
	}
	for length := shortest; length <= longest; length++ {
		c := &lengthCodes[length]
		size := d.length[c.symbol]
		value := uint32(d.code[c.symbol]) | uint32(c.extra)<<size
		d.table[firstMatch+length] = value<<5 | uint32(size+c.bits+1)
	}
}

// pack writes the tokens. A token has at most maxBits + 5 + 1 bits, so three and a begun byte fit into 64.
func (d *deflater) pack(w *bitWriter) {
	table := &d.table
	tokens := d.tokens
	out := w.room(len(tokens)*((maxBits+6+7)/8) + 16)
	at, acc, held := len(w.out), w.acc, w.held
	for len(tokens) >= 3 {
		a, b, c := table[tokens[0]], table[tokens[1]], table[tokens[2]]
		tokens = tokens[3:]
		acc |= uint64(a>>5) << (held & 63)
		held += uint(a & 31)
		acc |= uint64(b>>5) << (held & 63)
		held += uint(b & 31)
		acc |= uint64(c>>5) << (held & 63)
		held += uint(c & 31)
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += int(held >> 3)
		acc >>= held &^ 7 & 63
		held &= 7
	}
	w.out, w.acc, w.held = out[:at], acc, held
	for _, t := range tokens {
		w.write(table[t]>>5, uint(table[t]&31))
	}
}

// header writes the lengths of all codes, themselves in a code of their own (RFC 1951, 3.2.7).
func (d *deflater) header(w *bitWriter) {
	var lengths [literals + distanceCode + 1]uint8
	copy(lengths[:], d.length[:])
	count := literals
	for count > 257 && lengths[count-1] == 0 {
		count--
	}
	lengths[count+distanceCode] = 1
	clear(lengths[count : count+distanceCode])
	all := lengths[:count+distanceCode+1]

	type piece struct{ symbol, extra, bits uint8 }
	var room [len(lengths)]piece
	pieces := room[:0]
	var freq [19]uint32
	for i := 0; i < len(all); {
		l, run := all[i], 1
		for i+run < len(all) && all[i+run] == l {
			run++
		}
		i += run
		add := func(symbol, extra, bits uint8) {
			pieces = append(pieces, piece{symbol, extra, bits})
			freq[symbol]++
		}
		if l != 0 {
			add(l, 0, 0)
			run--
		}
		for run > 0 {
			switch {
			case l == 0 && run >= 11:
				n := min(run, 138)
				add(18, uint8(n-11), 7)
				run -= n
			case l == 0 && run >= 3:
				n := min(run, 10)
				add(17, uint8(n-3), 3)
				run -= n
			case l != 0 && run >= 3:
				n := min(run, 6)
				add(16, uint8(n-3), 2)
				run -= n
			default:
				add(l, 0, 0)
				run--
			}
		}
	}
	var size [19]uint8
	var code [19]uint16
	codeLengths(size[:], freq[:], 7)
	canonical(code[:], size[:])
	places := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	used := 19
	for used > 4 && size[places[used-1]] == 0 {
		used--
	}
	w.write(uint32(count-257), 5)
	w.write(distanceCode, 5) // one less than the number of distance codes
	w.write(uint32(used-4), 4)
	for _, p := range places[:used] {
		w.write(uint32(size[p]), 3)
	}
	for _, p := range pieces {
		w.write(uint32(code[p.symbol]), uint(size[p.symbol]))
		w.write(uint32(p.extra), uint(p.bits))
	}
}

// bitWriter appends bits to bytes, the lowest first.
type bitWriter struct {
	out  []byte
	acc  uint64
	held uint // bits in acc, less than 8 after each call
}

func (w *bitWriter) write(value uint32, bits uint) {
	w.acc |= uint64(value) << w.held
	for w.held += bits; w.held >= 8; w.held -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

// align fills up the last byte with zeros.
func (w *bitWriter) align() {
	if w.held > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc, w.held = 0, 0
	}
}

// room returns out with space for n more bytes, up to its capacity.
func (w *bitWriter) room(n int) []byte {
	if cap(w.out)-len(w.out) < n {
		w.out = append(make([]byte, 0, 2*len(w.out)+n), w.out...)
	}
	return w.out[:cap(w.out)]
}
