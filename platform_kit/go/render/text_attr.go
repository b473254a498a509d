package render

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// extends tells whether r belongs to the character before it.
func extends(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) || r == 0x200D || r >= 0xFE00 && r <= 0xFE0F ||
		r >= 0x1F3FB && r <= 0x1F3FF
}

// attr is how a character of a paragraph is set.
type attr struct {
	italic bool
	symbol *icon // the character stands for an inline symbol
}

// clean makes text fit for shaping: tabs become spaces, other control
// characters go, all forms of line ends become \n.
func clean(s string) string {
	s = lineEnds.Replace(s)
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || r == 0xFEFF || r >= 0xFFF9 && r <= 0xFFFC) {
			return -1
		}
		return r
	}, s)
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\t", " ", "\v", "\n", "\f", "\n")

// setCase changes capitals as a layer wants.
func setCase(s, mode string) string {
	switch mode {
	case "upper":
		tag := language.Und
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Greek, r) }) {
			tag = language.Greek // whose capitals have no accents
		}
		return cases.Upper(tag).String(s)
	case "lower":
		return cases.Lower(language.Und).String(s)
	}
	return s
}

// mark splits a paragraph into characters with attributes: symbols such as {T}
// that the set has become one character; text in parentheses may be italic.
func mark(s string, italic bool, set *iconSet, parentheses bool) ([]rune, []attr) {
	var text []rune
	var attrs []attr
	in := []rune(s)
	depth := 0
	closing := 0 // parentheses still to come, so that a lone one changes nothing
	for _, r := range in {
		if r == ')' || r == '）' {
			closing++
		}
	}
	for i := 0; i < len(in); i++ {
		r := in[i]
		if r == '{' && set != nil {
			if end := indexRune(in[i:], '}', 16); end > 1 {
				if ic := set.find(string(in[i+1 : i+end])); ic != nil {
					text = append(text, 0xFFFC)
					attrs = append(attrs, attr{symbol: ic})
					i += end
					continue
				}
			}
		}
		open := r == '(' || r == '（'
		if open && parentheses && closing > 0 {
			depth++
		}
		text = append(text, r)
		attrs = append(attrs, attr{italic: italic || depth > 0})
		if r == ')' || r == '）' {
			closing--
			depth = max(0, depth-1)
		}
	}
	return text, attrs
}

func indexRune(s []rune, r rune, limit int) int {
	for i := 0; i < len(s) && i < limit; i++ {
		if s[i] == r {
			return i
		}
	}
	return -1
}

// tongue is the language that decides between regional forms of Han characters:
// what the column lang says, else what the card's script tells.
func (c *Card) tongue() string {
	for _, name := range []string{"lang", "language"} {
		switch v := fold(c.field(name)); {
		case strings.HasPrefix(v, "zh"):
			if strings.Contains(v, "tw") || strings.Contains(v, "hk") || strings.Contains(v, "hant") || v == "zht" {
				return "zh-hant"
			}
			return "zh-hans"
		case v == "zht":
			return "zh-hant"
		case len(v) >= 2 && len(v) <= 12:
			return v
		}
	}
	han := false
	for _, name := range []string{"text", "name", "type"} {
		for _, r := range c.field(name) {
			switch {
			case r < 0x1100:
			case unicode.In(r, unicode.Hiragana, unicode.Katakana):
				return "ja"
			case unicode.In(r, unicode.Hangul):
				return "ko"
			case unicode.In(r, unicode.Han):
				han = true
			}
		}
	}
	if han {
		return "zh-hans"
	}
	return "en"
}
