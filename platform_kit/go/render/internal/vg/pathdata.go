package vg

import (
	"fmt"
	"math"
	"strconv"
)

// MaxSegments bounds the path a string may describe.
const MaxSegments = 200_000

type scanner struct {
	s string
	i int
}

func (s *scanner) space() {
	for s.i < len(s.s) {
		switch s.s[s.i] {
		case ' ', '\t', '\n', '\r', ',', '\f':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) number() (float64, bool) {
	s.space()
	start, dot, digits := s.i, false, false
	if s.i < len(s.s) && (s.s[s.i] == '-' || s.s[s.i] == '+') {
		s.i++
	}
	for s.i < len(s.s) {
		c := s.s[s.i]
		if c >= '0' && c <= '9' {
			digits = true
		} else if c == '.' && !dot {
			dot = true
		} else {
			break
		}
		s.i++
	}
	if digits && s.i < len(s.s) && (s.s[s.i] == 'e' || s.s[s.i] == 'E') {
		j := s.i + 1
		if j < len(s.s) && (s.s[j] == '-' || s.s[j] == '+') {
			j++
		}
		if j < len(s.s) && s.s[j] >= '0' && s.s[j] <= '9' {
			for j < len(s.s) && s.s[j] >= '0' && s.s[j] <= '9' {
				j++
			}
			s.i = j
		}
	}
	if !digits {
		s.i = start
		return 0, false
	}
	v, err := strconv.ParseFloat(s.s[start:s.i], 64)
	if err != nil || math.Abs(v) > 1e9 {
		return 0, false
	}
	return v, true
}

func (s *scanner) flag() (bool, bool) {
	s.space()
	if s.i < len(s.s) && (s.s[s.i] == '0' || s.s[s.i] == '1') {
		s.i++
		return s.s[s.i-1] == '1', true
	}
	return false, false
}

// Numbers reads all numbers at the start of s.
func Numbers(s string) []float64 {
	sc := scanner{s: s}
	var out []float64
	for {
		v, ok := sc.number()
		if !ok || len(out) > MaxSegments {
			return out
		}
		out = append(out, v)
	}
}

// ParsePath reads SVG path data. On an error it returns what came before it,
// as SVG renderers do.
func ParsePath(d string) (*Path, error) {
	p, sc := &Path{}, &scanner{s: d}
	var cur, start, ctrl Point
	var cmd, prev byte
	for {
		sc.space()
		if sc.i >= len(sc.s) {
			return p, nil
		}
		if p.Len() > MaxSegments {
			return p, fmt.Errorf("a path of more than %d segments", MaxSegments)
		}
		if c := sc.s[sc.i]; c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			cmd = c
			sc.i++
			if prev == 0 && cmd != 'm' && cmd != 'M' {
				return p, fmt.Errorf("path data has to start with M, not %q", cmd)
			}
		} else if cmd == 0 || cmd == 'z' || cmd == 'Z' {
			return p, fmt.Errorf("path data: unexpected %q", c)
		} else if cmd == 'm' {
			cmd = 'l'
		} else if cmd == 'M' {
			cmd = 'L'
		}
		rel := cmd >= 'a'
		up := cmd &^ 0x20
		var v [7]float64
		n := map[byte]int{'M': 2, 'L': 2, 'H': 1, 'V': 1, 'C': 6, 'S': 4, 'Q': 4, 'T': 2, 'A': 7, 'Z': 0}
		count, known := n[up]
		if !known {
			return p, fmt.Errorf("path data: unknown command %q", cmd)
		}
		for i := range count {
			if up == 'A' && (i == 3 || i == 4) {
				f, ok := sc.flag()
				if !ok {
					return p, fmt.Errorf("path data: a flag is missing after %q", cmd)
				}
				if f {
					v[i] = 1
				}
				continue
			}
			f, ok := sc.number()
			if !ok {
				return p, fmt.Errorf("path data: a number is missing after %q", cmd)
			}
			v[i] = f
		}
		at := func(i int) Point {
			if rel {
				return Point{cur.X + v[i], cur.Y + v[i+1]}
			}
			return Point{v[i], v[i+1]}
		}
		if prev == 'Z' && up != 'M' && up != 'Z' {
			p.MoveTo(cur.X, cur.Y)
		}
		next := cur
		switch up {
		case 'M':
			next = at(0)
			start = next
			p.MoveTo(next.X, next.Y)
		case 'L':
			next = at(0)
			p.LineTo(next.X, next.Y)
		case 'H':
			next.X = v[0]
			if rel {
				next.X += cur.X
			}
			p.LineTo(next.X, next.Y)
		case 'V':
			next.Y = v[0]
			if rel {
				next.Y += cur.Y
			}
			p.LineTo(next.X, next.Y)
		case 'C':
			a := at(0)
			ctrl, next = at(2), at(4)
			p.CubeTo(a.X, a.Y, ctrl.X, ctrl.Y, next.X, next.Y)
		case 'S':
			a := cur
			if prev == 'C' || prev == 'S' {
				a = Point{2*cur.X - ctrl.X, 2*cur.Y - ctrl.Y}
			}
			ctrl, next = at(0), at(2)
			p.CubeTo(a.X, a.Y, ctrl.X, ctrl.Y, next.X, next.Y)
		case 'Q':
			ctrl, next = at(0), at(2)
			p.QuadTo(ctrl.X, ctrl.Y, next.X, next.Y)
		case 'T':
			if prev == 'Q' || prev == 'T' {
				ctrl = Point{2*cur.X - ctrl.X, 2*cur.Y - ctrl.Y}
			} else {
				ctrl = cur
			}
			next = at(0)
			p.QuadTo(ctrl.X, ctrl.Y, next.X, next.Y)
		case 'A':
			next = at(5)
			p.ArcTo(cur, v[0], v[1], v[2]*math.Pi/180, v[3] != 0, v[4] != 0, next)
		case 'Z':
			p.Close()
			next = start
		}
		cur, prev = next, up
	}
}
