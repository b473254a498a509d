package vg

// Sprite is a picture that is put on canvases of one size again and again. Transparent pixels are left out, and
// where it hides what is below is known beforehand.
type Sprite struct {
	pix    []uint8
	runs   []run
	covers bool // it hides everything
}

// run is a row of pixels that are all opaque, or all neither opaque nor transparent.
type run struct {
	at, n  int // of the canvas's bytes
	from   int // of the sprite's bytes
	opaque bool
}

// NewSprite copies a canvas.
func NewSprite(c *Canvas) *Sprite {
	s := &Sprite{}
	runs, pixels := 0, 0
	for i := 3; i < len(c.Pix); i += 4 {
		kind := kindOf(c.Pix[i])
		if kind != 0 {
			pixels++
			if i < 4 || i/4%c.W == 0 || kindOf(c.Pix[i-4]) != kind {
				runs++
			}
		}
	}
	s.runs, s.pix = make([]run, 0, runs), make([]uint8, 0, 4*pixels)
	opaque := 0
	for y := range c.H {
		row := c.Pix[4*y*c.W : 4*(y+1)*c.W]
		for i := 0; i < len(row); {
			kind := kindOf(row[i+3])
			j := i + 4
			for j < len(row) && kindOf(row[j+3]) == kind {
				j += 4
			}
			if kind != 0 {
				s.runs = append(s.runs, run{4*y*c.W + i, j - i, len(s.pix), kind == 2})
				s.pix = append(s.pix, row[i:j]...)
			}
			if kind == 2 {
				opaque += j - i
			}
			i = j
		}
	}
	s.covers = opaque == len(c.Pix)
	return s
}

func kindOf(alpha uint8) int {
	switch alpha {
	case 0:
		return 0
	case 255:
		return 2
	}
	return 1
}

// Bytes is about how much memory the sprite takes.
func (s *Sprite) Bytes() int { return len(s.pix) + 32*len(s.runs) + 100 }

// Covers tells whether the sprite hides whatever is on a canvas.
func (s *Sprite) Covers() bool { return s.covers }

// Stamp puts a sprite on a canvas of the size that it was made of.
func (c *Canvas) Stamp(s *Sprite) {
	for _, r := range s.runs {
		from := s.pix[r.from : r.from+r.n]
		if r.opaque {
			copy(c.Pix[r.at:], from)
		} else {
			over(c.Pix[r.at:r.at+r.n], from)
		}
	}
}
