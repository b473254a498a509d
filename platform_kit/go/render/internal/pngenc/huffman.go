package pngenc

import "slices"

// maxBits is the longest code that is given to a literal or a length. Deflate allows 15; with 12, three tokens
// together fit into what is left of a 64-bit word (see pack), and hardly a byte is lost.
const maxBits = 12

// codeLengths gives every symbol that occurs the length of its Huffman code, at most limit bits; the others get 0.
// The sum of freq must fit into 32 bits, and there must be no more than 1<<limit symbols.
func codeLengths(lengths []uint8, freq []uint32, limit uint) {
	clear(lengths)
	var room [literals]uint64 // frequency above, symbol below: one number to sort by, the same everywhere
	order := room[:0]
	for s, f := range freq {
		if f > 0 {
			order = append(order, uint64(f)<<16|uint64(s))
		}
	}
	switch len(order) {
	case 0:
		return
	case 1:
		lengths[order[0]&0xffff] = 1
		return
	}
	slices.Sort(order)
	var sizes [32]uint32 // how many codes there are of each length
	countLengths(&sizes, order)
	shorten(&sizes, limit)
	// The rarest symbols get the longest codes.
	i := 0
	for bits := limit; bits > 0; bits-- {
		for range sizes[bits] {
			lengths[order[i]&0xffff] = uint8(bits)
			i++
		}
	}
}

// countLengths builds the Huffman tree over frequencies that are sorted (Moffat and Katajainen's way, in place) and
// counts its leaves by depth, all that are deeper than 31 as 31.
func countLengths(sizes *[32]uint32, order []uint64) {
	n := len(order)
	var room [literals]uint64
	a := room[:n] // first weights, then the index of the parent, then depths
	for i, o := range order {
		a[i] = o >> 16
	}
	leaf, root := 0, 0
	for next := range n - 1 {
		take := func() uint64 {
			if leaf >= n || root < next && a[root] < a[leaf] {
				w := a[root]
				a[root] = uint64(next)
				root++
				return w
			}
			leaf++
			return a[leaf-1]
		}
		w := take()
		w += take()
		a[next] = w
	}
	a[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		a[i] = a[a[i]] + 1
	}
	// a[:n-1] are the depths of the inner nodes, the deepest first.
	inner, free, depth := n-2, 1, uint64(0)
	for free > 0 {
		used := 0
		for inner >= 0 && a[inner] == depth {
			used++
			inner--
		}
		sizes[min(depth, 31)] += uint32(free - used)
		free = 2 * used
		depth++
	}
}

// shorten makes codes that are longer than limit that long and lengthens others until all have a place.
func shorten(sizes *[32]uint32, limit uint) {
	for bits := limit + 1; bits < 32; bits++ {
		sizes[limit] += sizes[bits]
		sizes[bits] = 0
	}
	used := uint32(0) // in parts of 1<<limit
	for bits := uint(1); bits <= limit; bits++ {
		used += sizes[bits] << (limit - bits)
	}
	for ; used > 1<<limit; used-- {
		// A code of the longest length goes: it and a shorter one become two, one bit longer than the shorter.
		bits := limit - 1
		for sizes[bits] == 0 {
			bits--
		}
		sizes[limit]--
		sizes[bits]--
		sizes[bits+1] += 2
	}
}

// canonical returns the codes that belong to lengths, with their bits reversed as deflate writes them.
func canonical(codes []uint16, lengths []uint8) {
	var next [16]uint16
	for _, l := range lengths {
		next[l]++
	}
	next[0] = 0
	code := uint16(0)
	for bits := range next {
		count := next[bits]
		code <<= 1
		next[bits] = code
		code += count
	}
	for s, l := range lengths {
		if l > 0 {
			codes[s] = reverse(next[l], l)
			next[l]++
		}
	}
}

func reverse(code uint16, bits uint8) uint16 {
	out := uint16(0)
	for range bits {
		out = out<<1 | code&1
		code >>= 1
	}
	return out
}
