package vg

import "platform-kit/render/internal/name"

// Sprite is a picture that is put on canvases of one size again and again. Transparent pixels are left out, and
// where it hides what is below is known beforehand.
type Sprite struct {
	pix    []uint8
	runs   []run
	rows   []int32     // where the runs of each row begin, and the end of the last
	names  []name.Name // of what each row looks like; zero for a transparent one
	covers bool        // it hides everything
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
	s.rows, s.names = make([]int32, c.H+1), make([]name.Name, c.H)
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
		s.rows[y+1] = int32(len(s.runs))
		if s.rows[y] < s.rows[y+1] {
			s.names[y] = name.Of(row)
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
func (s *Sprite) Bytes() int { return len(s.pix) + 32*len(s.runs) + 20*len(s.names) + 100 }

// Covers tells whether the sprite hides whatever is on a canvas.
func (s *Sprite) Covers() bool { return s.covers }

// Names are those of rows y0 to before y1: rows with the same name have the same pixels. shows tells whether any has a
// pixel that is not transparent.
func (s *Sprite) Names(y0, y1 int) (rows []name.Name, shows bool) {
	return s.names[y0:y1], s.rows[y0] < s.rows[y1]
}

// Stamp puts a sprite on a canvas of the size that it was made of, or on some of its rows.
func (c *Canvas) Stamp(s *Sprite) {
	above := 4 * c.Top * c.W
	for _, r := range s.runs[s.rows[c.Top]:s.rows[c.Top+c.H]] {
		from, to := s.pix[r.from:r.from+r.n], c.Pix[r.at-above:]
		if r.opaque {
			copy(to, from)
		} else {
			over(to[:r.n], from)
		}
	}
}
