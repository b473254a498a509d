package svg

import (
	"math"
	"strconv"
	"strings"

	"platform-kit/render/internal/vg"
)

// parseLength reads a length; a percentage is of whole.
func parseLength(s string, whole, em, otherwise float64) float64 {
	s = strings.TrimSpace(s)
	if s == "" {
		return otherwise
	}
	i := len(s)
	for i > 0 && (s[i-1] >= 'a' && s[i-1] <= 'z' || s[i-1] >= 'A' && s[i-1] <= 'Z' || s[i-1] == '%') {
		i--
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(s[:i]), 64)
	if err != nil || math.IsNaN(v) || math.Abs(v) > 1e7 {
		return otherwise
	}
	switch strings.ToLower(s[i:]) {
	case "%":
		return v / 100 * whole
	case "em", "rem":
		return v * em
	case "ex":
		return v * em / 2
	case "mm":
		return v * 96 / 25.4
	case "cm":
		return v * 96 / 2.54
	case "in":
		return v * 96
	case "pt":
		return v * 96 / 72
	case "pc":
		return v * 16
	}
	return v
}

// parseUnit reads a number from 0 to 1, or a percentage.
func parseUnit(s string, otherwise float64) float64 {
	return min(max(parseLength(s, 1, 1, otherwise), 0), 1)
}

// parseTransform reads a list of transformations.
func parseTransform(s string) vg.Matrix {
	m := vg.Identity
	for range 1000 {
		open := strings.IndexByte(s, '(')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], ')')
		if end < 0 {
			break
		}
		name := strings.Trim(s[:open], " ,\t\r\n")
		v := vg.Numbers(strings.NewReplacer("deg", "", "px", "").Replace(s[open+1 : open+end]))
		s = s[open+end+1:]
		arg := func(i int, otherwise float64) float64 {
			if i < len(v) {
				return v[i]
			}
			return otherwise
		}
		switch name {
		case "matrix":
			if len(v) == 6 {
				m = m.Mul(vg.Matrix{A: v[0], B: v[1], C: v[2], D: v[3], E: v[4], F: v[5]})
			}
		case "translate":
			m = m.Mul(vg.Translate(arg(0, 0), arg(1, 0)))
		case "translateX":
			m = m.Mul(vg.Translate(arg(0, 0), 0))
		case "translateY":
			m = m.Mul(vg.Translate(0, arg(0, 0)))
		case "scale":
			m = m.Mul(vg.Scale(arg(0, 1), arg(1, arg(0, 1))))
		case "rotate":
			x, y := arg(1, 0), arg(2, 0)
			m = m.Mul(vg.Translate(x, y)).Mul(vg.Rotate(arg(0, 0) * math.Pi / 180)).Mul(vg.Translate(-x, -y))
		case "skewX":
			m = m.Mul(vg.Matrix{A: 1, C: math.Tan(arg(0, 0) * math.Pi / 180), D: 1})
		case "skewY":
			m = m.Mul(vg.Matrix{A: 1, B: math.Tan(arg(0, 0) * math.Pi / 180), D: 1})
		}
	}
	return m
}

// viewTransform fits a view box into a viewport as preserveAspectRatio says.
func viewTransform(box vg.Rect, w, h float64, ratio string) vg.Matrix {
	if box.Empty() || w <= 0 || h <= 0 {
		return vg.Identity
	}
	sx, sy := w/box.W, h/box.H
	if strings.Contains(ratio, "none") {
		return vg.Scale(sx, sy).Mul(vg.Translate(-box.X, -box.Y))
	}
	k := min(sx, sy)
	if strings.Contains(ratio, "slice") {
		k = max(sx, sy)
	}
	dx, dy := (w-box.W*k)/2, (h-box.H*k)/2
	if strings.Contains(ratio, "xMin") {
		dx = 0
	} else if strings.Contains(ratio, "xMax") {
		dx *= 2
	}
	if strings.Contains(ratio, "YMin") {
		dy = 0
	} else if strings.Contains(ratio, "YMax") {
		dy *= 2
	}
	return vg.Translate(dx, dy).Mul(vg.Scale(k, k)).Mul(vg.Translate(-box.X, -box.Y))
}

func parseViewBox(s string) (vg.Rect, bool) {
	v := vg.Numbers(s)
	if len(v) != 4 || v[2] <= 0 || v[3] <= 0 {
		return vg.Rect{}, false
	}
	return vg.Rect{X: v[0], Y: v[1], W: v[2], H: v[3]}, true
}

// parseColor reads a CSS colour.
func parseColor(s string, current vg.Color) (vg.Color, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "currentcolor" {
		return current, true
	}
	if s == "transparent" {
		return vg.Color{}, true
	}
	if strings.HasPrefix(s, "#") {
		c, err := vg.Hex(s)
		return c, err == nil
	}
	if open := strings.IndexByte(s, '('); open > 0 && strings.HasSuffix(s, ")") {
		parts := strings.FieldsFunc(s[open+1:len(s)-1], func(r rune) bool { return r == ',' || r == ' ' || r == '/' })
		if len(parts) < 3 {
			return vg.Color{}, false
		}
		alpha := 1.0
		if len(parts) > 3 {
			alpha = parseUnit(parts[3], 1)
		}
		switch s[:open] {
		case "rgb", "rgba":
			var c [3]uint8
			for i := range c {
				c[i] = uint8(min(max(parseLength(parts[i], 255, 1, 0), 0), 255) + 0.5)
			}
			return vg.Color{R: c[0], G: c[1], B: c[2], A: 255}.Alpha(alpha), true
		case "hsl", "hsla":
			h := parseLength(strings.TrimSuffix(parts[0], "deg"), 360, 1, 0)
			return vg.HSL(h, parseUnit(parts[1], 0), parseUnit(parts[2], 0)).Alpha(alpha), true
		}
		return vg.Color{}, false
	}
	if v, ok := colorNames[s]; ok {
		return vg.Color{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255}, true
	}
	return vg.Color{}, false
}
