package lanes

import "testing"

func TestLanes(t *testing.T) {
	for a := range uint64(256) {
		for b := range uint64(256) {
			// Neighbours that differ would show a carry from one byte into the next.
			x, y := a*ones^0xff00ff00ff00ff00, b*ones
			other := a ^ 0xff
			each := func(f func(a uint64) uint64) uint64 {
				return f(a)&255*0x0001000100010001 | f(other)&255*0x0100010001000100
			}
			if got, want := Add(x, y), each(func(a uint64) uint64 { return a + b }); got != want {
				t.Fatalf("%d + %d: %x", a, b, got)
			}
			if got, want := Sub(x, y), each(func(a uint64) uint64 { return a - b }); got != want {
				t.Fatalf("%d - %d: %x", a, b, got)
			}
			if got, want := Mean(x, y), each(func(a uint64) uint64 { return (a + b) / 2 }); got != want {
				t.Fatalf("mean of %d and %d: %x", a, b, got)
			}
		}
		size := a
		if a > 127 {
			size = 256 - a
		}
		if got := Sum(Abs(a * ones)); got != 8*size {
			t.Fatalf("sum of the sizes of %d: %d", a, got)
		}
	}
	const pixels = 0xff665544ff332211
	if got := RGB(pixels); got != 0x0000665544332211 {
		t.Errorf("RGB: %x", got)
	}
	if got := RGBA(RGB(pixels)); got != pixels&0x00ffffff00ffffff {
		t.Errorf("RGBA: %x", got)
	}
}
