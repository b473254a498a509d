package render

import (
	"math"

	"platform-kit/render/internal/vg"
)

// landscape is a sky with a sun or a moon above ranges of hills in mist.
func (s *scene) landscape() {
	night := s.unit() < 0.35
	top, low := s.mid, s.light
	if night {
		top, low = s.deep, s.mid
	}
	horizon := s.between(0.5, 0.64)
	s.ground(s.down(0, horizon+0.15, vg.Stop{At: 0, Color: top}, vg.Stop{At: 0.6, Color: top.Mix(low, 0.55)}, vg.Stop{At: 1, Color: low}))
	if night {
		s.stars(90, horizon)
	}
	x, y, r := s.between(0.22, 0.78)*s.w, s.between(0.16, horizon-0.08), s.between(0.06, 0.13)
	orb := s.light.Mix(vg.Color{R: 255, G: 250, B: 235, A: 255}, 0.6)
	s.glow(x, y, r*5, orb, 0.6)
	s.disc(x, y, r, orb, 1)
	if night && s.unit() < 0.6 {
		s.disc(x+r*0.42, y-r*0.18, r*0.86, top.Mix(low, 0.25), 1)
	}
	if !night {
		s.birds(x, y)
	}
	ranges := s.count(4, 6)
	mountains := s.unit() < 0.6
	for i := range ranges {
		t := float64(i) / float64(ranges-1)
		n := s.noise(s.between(2, 3.6)+t, 0.5)
		base := horizon + (1.0-horizon)*t*0.82
		height := (0.2 - 0.11*t) * s.between(0.75, 1.2)
		p := &vg.Path{}
		p.MoveTo(-0.01, 1.01)
		const steps = 90
		for k := range steps + 1 {
			px := s.w*float64(k)/steps + (float64(k)/steps-0.5)*0.02
			v := n.at(px * 1.4)
			if mountains && t < 0.7 {
				v = n.ridged(px * 1.8)
			}
			p.LineTo(px, base-height*(0.35+0.75*v))
		}
		p.LineTo(s.w+0.01, 1.01)
		p.Close()
		far := low.Mix(s.mid, 0.45+0.3*t)
		c := far.Mix(s.deep, math.Pow(t, 0.8)*0.92+0.08)
		s.fill(p, s.down(base-height, base+0.3, vg.Stop{At: 0, Color: c}, vg.Stop{At: 1, Color: c.Mix(low, 0.32*(1-t))}), 1)
		if t > 0.6 {
			s.trees(n, base, height, c.Mix(s.deep, 0.5), t)
		}
	}
}

func (s *scene) birds(x, y float64) {
	for range s.count(0, 5) {
		bx, by, k := x+s.between(-0.4, 0.4), y+s.between(-0.12, 0.16), s.between(0.008, 0.018)
		p := &vg.Path{}
		p.MoveTo(bx-k, by-k*0.5)
		p.QuadTo(bx-k*0.4, by-k*0.6, bx, by)
		p.QuadTo(bx+k*0.4, by-k*0.6, bx+k, by-k*0.5)
		s.line(p, 0.0035, s.deep, 0.8)
	}
}

func (s *scene) trees(n *noise, base, height float64, c vg.Color, t float64) {
	p := &vg.Path{}
	for range s.count(14, 30) {
		x := s.between(0, s.w)
		y := base - height*(0.35+0.75*n.at(x*1.4)) + 0.012
		k := s.between(0.02, 0.05) * (0.5 + t)
		for j := range 3 {
			f := float64(j)
			p.Polygon(vg.Point{X: x, Y: y - k*(1.9-f*0.45)}, vg.Point{X: x + k*(0.26+0.12*f), Y: y - k*(1-f*0.5)}, vg.Point{X: x - k*(0.26+0.12*f), Y: y - k*(1-f*0.5)})
		}
	}
	s.fill(p, vg.Solid(c), 1)
}

// sigil is a symmetrical sign of rings, stars and petals on a glowing ground.
func (s *scene) sigil() {
	cx, cy := s.w/2, 0.5
	s.ground(s.around(cx, cy, math.Hypot(cx, cy), vg.Stop{At: 0, Color: s.mid.Mix(s.light, 0.25)},
		vg.Stop{At: 0.45, Color: s.mid.Mix(s.deep, 0.35)}, vg.Stop{At: 1, Color: s.deep}))
	fold := s.count(3, 9)
	rays := &vg.Path{}
	n := fold * s.count(2, 4)
	for i := range n {
		a := 2 * math.Pi * float64(i) / float64(n)
		d := math.Pi / float64(n) * 0.5
		rays.Polygon(vg.Point{X: cx, Y: cy}, polar(cx, cy, 1.4, a-d), polar(cx, cy, 1.4, a+d))
	}
	s.fill(rays, s.around(cx, cy, 0.8, vg.Stop{At: 0, Color: s.light.Alpha(0.3)}, vg.Stop{At: 1, Color: s.light.Alpha(0)}), 1)
	s.glow(cx, cy, 0.55, s.accent, 0.5)
	radius := 0.43
	for ring := range s.count(3, 5) {
		c := s.light
		if ring%2 == 1 {
			c = s.accent.Mix(s.light, 0.3)
		}
		turn := -math.Pi / 2
		if ring%2 == 1 {
			turn += math.Pi / float64(fold)
		}
		switch s.count(0, 4) {
		case 0:
			p := &vg.Path{}
			p.Ellipse(cx, cy, radius, radius)
			s.line(p, s.between(0.004, 0.012), c, 0.9)
			for i := range fold {
				q := polar(cx, cy, radius, turn+2*math.Pi*float64(i)/float64(fold))
				s.disc(q.X, q.Y, 0.022, s.deep, 1)
				s.disc(q.X, q.Y, 0.014, c, 1)
			}
		case 1:
			skip := max(1, (fold-1)/2)
			if fold < 5 {
				skip = 1
			}
			p := &vg.Path{}
			for i := range fold {
				a := turn + 2*math.Pi*float64(i)/float64(fold)
				b := turn + 2*math.Pi*float64(i+skip)/float64(fold)
				q, e := polar(cx, cy, radius, a), polar(cx, cy, radius, b)
				p.MoveTo(q.X, q.Y)
				p.LineTo(e.X, e.Y)
			}
			s.line(p, s.between(0.005, 0.012), c, 0.9)
		case 2:
			p := &vg.Path{}
			for i := range fold {
				a := turn + 2*math.Pi*float64(i)/float64(fold)
				tip, l, r := polar(cx, cy, radius, a), polar(cx, cy, radius*0.55, a-1.1/float64(fold)), polar(cx, cy, radius*0.55, a+1.1/float64(fold))
				in := polar(cx, cy, radius*0.22, a)
				p.MoveTo(in.X, in.Y)
				p.QuadTo(l.X, l.Y, tip.X, tip.Y)
				p.QuadTo(r.X, r.Y, in.X, in.Y)
				p.Close()
			}
			s.fill(p, s.around(cx, cy, radius, vg.Stop{At: 0.2, Color: c.Alpha(0.15)}, vg.Stop{At: 1, Color: c.Alpha(0.85)}), 1)
			s.line(p, 0.004, s.light, 0.7)
		case 3:
			p := &vg.Path{}
			teeth := fold * 4
			for i := range teeth {
				a := turn + 2*math.Pi*float64(i)/float64(teeth)
				q, e := polar(cx, cy, radius, a), polar(cx, cy, radius*0.93, a)
				p.MoveTo(q.X, q.Y)
				p.LineTo(e.X, e.Y)
			}
			s.line(p, 0.006, c, 0.85)
			o := &vg.Path{}
			o.Ellipse(cx, cy, radius, radius)
			s.line(o, 0.004, c, 0.9)
		default:
			points := make([]vg.Point, 2*fold)
			for i := range points {
				k := radius
				if i%2 == 1 {
					k *= 0.62
				}
				points[i] = polar(cx, cy, k, turn+math.Pi*float64(i)/float64(fold))
			}
			p := &vg.Path{}
			p.Polygon(points...)
			s.fill(p, vg.Solid(s.deep), 0.45)
			s.line(p, 0.007, c, 0.95)
		}
		radius *= s.between(0.62, 0.8)
	}
	s.glow(cx, cy, 0.16, s.light, 0.9)
	s.disc(cx, cy, 0.035, s.light.Mix(vg.Color{R: 255, G: 255, B: 255, A: 255}, 0.7), 1)
	for range 40 {
		s.disc(s.between(0, s.w), s.between(0, 1), s.between(0.001, 0.005), s.light, s.between(0.1, 0.6))
	}
}

func polar(cx, cy, r, a float64) vg.Point {
	sin, cos := math.Sincos(a)
	return vg.Point{X: cx + r*cos, Y: cy + r*sin}
}

// waves are bands of silk, one in front of the other.
func (s *scene) waves() {
	s.ground(s.down(0, 1, vg.Stop{At: 0, Color: s.light}, vg.Stop{At: 0.5, Color: s.mid}, vg.Stop{At: 1, Color: s.deep}))
	x, y := s.between(0.2, 0.8)*s.w, s.between(0.12, 0.35)
	s.glow(x, y, 0.7, vg.Color{R: 255, G: 255, B: 250, A: 255}, 0.6)
	n := s.count(7, 11)
	tilt := s.between(-0.25, 0.25)
	for i := range n {
		t := float64(i) / float64(n-1)
		f := s.noise(s.between(1.3, 2.4), 0.42)
		base := 0.16 + 0.84*t
		p := &vg.Path{}
		p.MoveTo(-0.01, 1.3)
		crest := &vg.Path{}
		const steps = 64
		for k := range steps + 1 {
			px := (s.w + 0.02) * float64(k) / steps
			py := base + 0.11*f.at(px*1.5) + tilt*(px-s.w/2)
			p.LineTo(px-0.01, py)
			if k == 0 {
				crest.MoveTo(px-0.01, py)
			} else {
				crest.LineTo(px-0.01, py)
			}
		}
		p.LineTo(s.w+0.01, 1.3)
		p.Close()
		c := s.light.Mix(s.mid, min(1, t*1.7)).Mix(s.deep, max(0, t*1.25-0.35))
		if i%4 == int(s.state%4) {
			c = c.Mix(s.accent, 0.55)
		}
		s.fill(p, s.down(base-0.12, base+0.34, vg.Stop{At: 0, Color: c.Mix(s.light, 0.38).Alpha(0.92)}, vg.Stop{At: 0.5, Color: c.Alpha(0.95)},
			vg.Stop{At: 1, Color: c.Mix(s.deep, 0.5)}), 1)
		s.line(crest, 0.0035, s.light, 0.65*(1-0.6*t))
	}
}

// crystals are faceted shards growing from the ground.
func (s *scene) crystals() {
	cx := s.w / 2
	s.ground(s.around(cx, 0.58, 0.95, vg.Stop{At: 0, Color: s.mid.Mix(s.light, 0.3)}, vg.Stop{At: 0.5, Color: s.mid.Mix(s.deep, 0.5)}, vg.Stop{At: 1, Color: s.deep}))
	s.stars(30, 0.9)
	s.glow(cx, 0.6, 0.7, s.accent, 0.55)
	shard := func(x, y, angle, length, width float64, c vg.Color) {
		sin, cos := math.Sincos(angle)
		at := func(u, v float64) vg.Point { // u along the shard, v across
			return vg.Point{X: x + u*sin + v*cos, Y: y - u*cos + v*sin}
		}
		tip, shoulder := at(length, width*0.1), length*0.74
		l, ml, mr, r := at(shoulder, -width), at(shoulder*0.96, -width*0.22), at(shoulder*1.0, width*0.45), at(shoulder*0.97, width)
		bl, bml, bmr, br := at(-0.05, -width*0.8), at(-0.05, -width*0.2), at(-0.05, width*0.4), at(-0.05, width*0.8)
		facet := func(k float64, points ...vg.Point) {
			p := &vg.Path{}
			p.Polygon(points...)
			col := c.Mix(s.light, max(0, k)).Mix(s.deep, max(0, -k))
			s.fill(p, vg.LinearGradient(at(length, 0), at(0, 0), []vg.Stop{{At: 0, Color: col.Mix(s.light, 0.3)}, {At: 1, Color: col.Mix(s.deep, 0.45)}}, vg.Pad, s.m), 1)
		}
		facet(-0.2, bl, l, ml, bml)
		facet(0.45, bml, ml, mr, bmr)
		facet(-0.45, bmr, mr, r, br)
		facet(0.15, l, tip, ml)
		facet(0.7, ml, tip, mr)
		facet(-0.25, mr, tip, r)
		edge := &vg.Path{}
		for _, q := range [][2]vg.Point{{bml, ml}, {ml, tip}, {l, ml}, {ml, mr}, {mr, tip}} {
			edge.MoveTo(q[0].X, q[0].Y)
			edge.LineTo(q[1].X, q[1].Y)
		}
		s.line(edge, 0.0025, s.light, 0.55)
	}
	n := s.count(9, 15)
	for i := range n {
		t := float64(i) / float64(n-1) // from the back to the front
		spread := s.between(-1, 1)
		length := (0.72 - 0.34*t) * (1 - 0.45*math.Abs(spread)) * s.between(0.8, 1.1)
		c := s.mid
		if s.unit() < 0.35 {
			c = s.accent.Mix(s.mid, 0.35)
		}
		shard(cx+spread*0.42*(0.4+t*0.8), 0.9+0.1*t, spread*0.62+s.between(-0.08, 0.08), length, s.between(0.035, 0.075), c.Mix(s.deep, 0.35*(1-t)))
	}
	f := s.noise(3, 0.5)
	p := &vg.Path{}
	p.MoveTo(0, 1.1)
	for k := range 41 {
		x := s.w * float64(k) / 40
		p.LineTo(x, 0.93-0.04*f.ridged(x*3)-0.03*math.Cos((x-cx)*2))
	}
	p.LineTo(s.w, 1.1)
	p.Close()
	s.fill(p, s.down(0.85, 1, vg.Stop{At: 0, Color: s.deep.Mix(s.mid, 0.25)}, vg.Stop{At: 1, Color: s.deep}), 1)
}

// orbits are planets among stars and the lines of their ways.
func (s *scene) orbits() {
	s.ground(s.down(0, 1, vg.Stop{At: 0, Color: s.deep.Mix(vg.Color{A: 255}, 0.35)}, vg.Stop{At: 1, Color: s.deep.Mix(s.mid, 0.45)}))
	for range 4 {
		c := s.mid
		if s.unit() < 0.5 {
			c = s.accent
		}
		s.glow(s.between(0, s.w), s.between(0, 1), s.between(0.3, 0.6), c, 0.28)
	}
	s.stars(150, 1)
	planet := func(x, y, r float64, c vg.Color, ring bool) {
		tilt := s.between(-0.5, 0.5)
		half := func(front bool) {
			p := &vg.Path{}
			for _, k := range []float64{1.5, 1.68, 1.84} {
				for i := range 33 {
					a := math.Pi * float64(i) / 32
					if !front {
						a += math.Pi
					}
					u, v := math.Cos(a)*k*r, math.Sin(a)*k*r*0.28
					sin, cos := math.Sincos(tilt)
					if i == 0 {
						p.MoveTo(x+u*cos-v*sin, y+u*sin+v*cos)
					} else {
						p.LineTo(x+u*cos-v*sin, y+u*sin+v*cos)
					}
				}
			}
			s.line(p, r*0.07, s.light.Mix(c, 0.3), 0.75)
		}
		s.glow(x, y, r*1.7, c.Mix(s.light, 0.5), 0.4)
		if ring {
			half(false)
		}
		body := &vg.Path{}
		body.Ellipse(x, y, r, r)
		s.fill(body, s.around(x-r*0.4, y-r*0.45, r*1.55, vg.Stop{At: 0, Color: c.Mix(s.light, 0.75)}, vg.Stop{At: 0.45, Color: c},
			vg.Stop{At: 1, Color: c.Mix(s.deep, 0.85)}), 1)
		clip := vg.FillMask(body, s.m, vg.NonZero, s.canvas.W, s.canvas.H)
		for range s.count(2, 5) {
			band := &vg.Path{}
			by := y + s.between(-0.8, 0.8)*r
			band.Ellipse(x, by, r*1.3, r*s.between(0.04, 0.12))
			s.canvas.Fill(band, s.m, vg.NonZero, vg.Solid(s.light), clip, s.between(0.08, 0.2))
		}
		if ring {
			half(true)
		}
	}
	x, y, r := s.between(0.3, 0.7)*s.w, s.between(0.38, 0.62), s.between(0.18, 0.28)
	for i := range s.count(2, 4) {
		p := &vg.Path{}
		k := r * (1.9 + 0.75*float64(i))
		p.Ellipse(0, 0, k, k*0.42)
		q := &vg.Path{}
		q.Append(p, vg.Translate(x, y).Mul(vg.Rotate(-0.35)))
		s.line(q, 0.0028, s.light, 0.35)
	}
	planet(x, y, r, s.mid.Mix(s.accent, 0.25), s.unit() < 0.6)
	for range s.count(1, 3) {
		a, k := s.between(0, 2*math.Pi), r*s.between(1.9, 2.9)
		planet(x+k*math.Cos(a), y+0.5*k*math.Sin(a), s.between(0.025, 0.06), s.accent.Mix(s.mid, s.unit()*0.6), false)
	}
}

// spires are the towers of a far city in front of a low sun.
func (s *scene) spires() {
	s.ground(s.down(0, 0.95, vg.Stop{At: 0, Color: s.deep.Mix(s.mid, 0.4)}, vg.Stop{At: 0.55, Color: s.mid}, vg.Stop{At: 1, Color: s.light}))
	x, y, r := s.between(0.3, 0.7)*s.w, s.between(0.42, 0.6), s.between(0.16, 0.24)
	s.stars(40, 0.35)
	s.glow(x, y, r*3.4, s.light, 0.65)
	s.disc(x, y, r, s.accent.Mix(s.light, 0.55), 0.95)
	for i := range 4 {
		p := &vg.Path{}
		p.Rectangle(vg.Rect{X: x - r*1.2, Y: y + r*(0.1+0.24*float64(i)), W: r * 2.4, H: r * (0.03 + 0.024*float64(i))}, 0, 0)
		s.fill(p, vg.Solid(s.mid.Mix(s.light, 0.45)), 0.8)
	}
	rows := s.count(3, 4)
	for i := range rows {
		t := float64(i) / float64(rows-1)
		c := s.mid.Mix(s.light, 0.35*(1-t)).Mix(s.deep, 0.25+0.75*t)
		base := 0.74 + 0.2*t
		p := &vg.Path{}
		windows := &vg.Path{}
		p.Rectangle(vg.Rect{X: -0.01, Y: base, W: s.w + 0.02, H: 1}, 0, 0)
		for px := -0.03; px < s.w; {
			w := s.between(0.03, 0.085)
			mid := 1 - math.Abs((px-s.w/2)/(s.w/2))
			h := s.between(0.06, 0.2) + 0.3*mid*s.unit()*(1-0.45*t)
			top := base - h
			p.Rectangle(vg.Rect{X: px, Y: top, W: w, H: h + 0.1}, 0, 0)
			switch s.count(0, 3) {
			case 0:
				p.Polygon(vg.Point{X: px - w*0.12, Y: top}, vg.Point{X: px + w/2, Y: top - w*s.between(1.2, 2.6)}, vg.Point{X: px + w*1.12, Y: top})
			case 1:
				p.Ellipse(px+w/2, top, w/2, w*0.55)
				p.Rectangle(vg.Rect{X: px + w*0.47, Y: top - w*1.1, W: w * 0.06, H: w}, 0, 0)
			case 2:
				for k := range 3 {
					p.Rectangle(vg.Rect{X: px + w*(0.02+0.36*float64(k)), Y: top - w*0.2, W: w * 0.24, H: w * 0.25}, 0, 0)
				}
			}
			if t > 0.4 {
				for wy := top + 0.025; wy < base-0.02; wy += 0.034 {
					for k := range 2 {
						if s.unit() < 0.42 {
							windows.Rectangle(vg.Rect{X: px + w*(0.24+0.34*float64(k)), Y: wy, W: w * 0.15, H: 0.014}, 0.004, 0.004)
						}
					}
				}
			}
			px += w * s.between(0.75, 1.5)
		}
		s.fill(p, s.down(base-0.4, base+0.25, vg.Stop{At: 0, Color: c}, vg.Stop{At: 1, Color: c.Mix(s.mid, 0.35*(1-t))}), 1)
		s.fill(windows, vg.Solid(s.accent.Mix(s.light, 0.6)), 0.85)
	}
}
