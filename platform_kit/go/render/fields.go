package render

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxText bounds what is read of one field.
const maxText = 20_000

// field returns a column as text, "" if there is none. Of several columns, as in
// power|attack, it is the first that has a value.
func (c *Card) field(name string) string {
	if v, ok := c.column(name); ok || !strings.Contains(name, "|") {
		return v
	}
	for one := range strings.SplitSeq(name, "|") {
		if v, _ := c.column(strings.TrimSpace(one)); v != "" {
			return v
		}
	}
	return ""
}

// column returns the column of that name, or else the one whose name differs in
// nothing but upper and lower case.
func (c *Card) column(name string) (text string, ok bool) {
	if v, ok := c.Fields[name]; ok {
		return scalar(v), true
	}
	if name == "id" {
		return c.ID, true
	}
	found := ""
	for k := range c.Fields {
		if strings.EqualFold(k, name) && (!ok || k < found) {
			found, ok = k, true
		}
	}
	return scalar(c.Fields[found]), ok
}

func scalar(v any) string {
	switch x := v.(type) {
	case string:
		if len(x) > 4*maxText {
			x = strings.ToValidUTF8(x[:4*maxText], "")
		}
		return strings.TrimSpace(norm.NFC.String(strings.ToValidUTF8(x, "\uFFFD")))
	case json.Number:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case int:
		return strconv.Itoa(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	}
	return ""
}

// key returns what the pipeline derived from a field, or else the field.
func (c *Card) key(name string) string {
	if s, ok := c.Derived[name].(string); ok && s != "" {
		return s
	}
	return c.field(name)
}

// holds tells whether all conditions are met.
func (c *Card) holds(conditions []condition) bool {
	for _, cond := range conditions {
		value := c.field(cond.Field)
		if cond.Field == "art" {
			if value = ""; c.hasArt() {
				value = "art"
			}
		}
		ok := value != ""
		if cond.Present != nil {
			ok = ok == *cond.Present
		} else if cond.In != nil {
			ok = false
			for _, want := range cond.In {
				ok = ok || fold(want) == fold(value) || fold(want) == fold(c.key(cond.Field))
			}
		}
		if ok == cond.Not {
			return false
		}
	}
	return true
}

// expand puts fields in the place of {name}; {{ and }} are braces.
func (c *Card) expand(text string) string {
	if !strings.ContainsAny(text, "{}") {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "{{"), strings.HasPrefix(text[i:], "}}"):
			out.WriteByte(text[i])
			i += 2
		case text[i] == '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				out.WriteString(text[i:])
				return out.String()
			}
			out.WriteString(c.field(text[i+1 : i+end]))
			i += end + 1
		default:
			out.WriteByte(text[i])
			i++
		}
	}
	return out.String()
}

// fold makes texts comparable.
func fold(s string) string {
	return strings.ToLower(strings.TrimSpace(s))
}

// hasWord tells whether word occurs in text as a whole word. Words in scripts
// without spaces may stand anywhere.
func hasWord(text, word string) bool {
	if word == "" {
		return false
	}
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		before, _ := lastRune(text[:i])
		after, _ := firstRune(text[end:])
		if !joins(before) && !joins(after) || !alphabetic(word) {
			return true
		}
		from = end
	}
}

func lastRune(s string) (r rune, ok bool) {
	for _, c := range s {
		r, ok = c, true
	}
	return r, ok
}

func firstRune(s string) (rune, bool) {
	for _, c := range s {
		return c, true
	}
	return 0, false
}

func joins(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// alphabetic tells whether a word is of a script that puts spaces between words.
func alphabetic(word string) bool {
	for _, r := range word {
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Hangul) {
			return false
		}
	}
	return true
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	x := h.Sum64() // FNV's high bits vary little for short texts
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
