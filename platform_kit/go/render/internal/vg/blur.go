package vg

// Blur returns the mask softened by a Gaussian-like blur of the given radius,
// in a box made larger to hold it.
func (m *Mask) Blur(radius float64) *Mask {
	r := int(radius + 0.5)
	if r < 1 || m.W == 0 {
		return m
	}
	pad := 2*r + 1
	out := &Mask{X: m.X - pad, Y: m.Y - pad, W: m.W + 2*pad, H: m.H + 2*pad}
	a := make([]uint8, out.W*out.H)
	for y := range m.H {
		copy(a[(y+pad)*out.W+pad:], m.Pix[y*m.W:(y+1)*m.W])
	}
	b := make([]uint8, len(a))
	size := max(1, (2*r)/3)
	for range 3 {
		for y := range out.H {
			box(b[y*out.W:], a[y*out.W:], 1, out.W, size)
		}
		for x := range out.W {
			box(a[x:], b[x:], out.W, out.H, size)
		}
	}
	out.Pix = a
	return out
}

// box is a running mean over 2*r+1 values.
func box(dst, src []uint8, stride, n, r int) {
	sum, width := 0, 2*r+1
	for i := 0; i < min(r, n); i++ {
		sum += int(src[i*stride])
	}
	for i := range n {
		if j := i + r; j < n {
			sum += int(src[j*stride])
		}
		if j := i - r - 1; j >= 0 {
			sum -= int(src[j*stride])
		}
		dst[i*stride] = uint8((sum + width/2) / width)
	}
}

// BlurCanvas softens a canvas in place; radius is Gaussian's sigma.
func (c *Canvas) BlurCanvas(sigma float64) {
	r := int(sigma*0.94 + 0.5)
	if r < 1 {
		return
	}
	r = min(r, 200)
	b := make([]uint8, len(c.Pix))
	for range 3 {
		for y := range c.H {
			for k := range 4 {
				box(b[4*y*c.W+k:], c.Pix[4*y*c.W+k:], 4, c.W, r)
			}
		}
		for x := range c.W {
			for k := range 4 {
				box(c.Pix[4*x+k:], b[4*x+k:], 4*c.W, c.H, r)
			}
		}
	}
}

// Offset returns the mask moved by (dx, dy).
func (m *Mask) Offset(dx, dy int) *Mask {
	out := *m
	out.X += dx
	out.Y += dy
	return &out
}
