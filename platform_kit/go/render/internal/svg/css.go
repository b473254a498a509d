package svg

import (
	"slices"
	"strings"
)

type rule struct {
	tag, id   string
	classes   []string
	weight    int
	important bool
	decls     map[string]string
}

// parseSheet reads the simple selectors of a style sheet: tag, .class, #id
// and their combinations. Rules with other selectors are left out.
func parseSheet(css string) []rule {
	css = withoutComments(css)
	var rules []rule
	for len(rules) < 5000 {
		open := strings.IndexByte(css, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(css[open:], '}')
		if end < 0 {
			break
		}
		head, body := css[:open], css[open+1:open+end]
		css = css[open+end+1:]
		decls := parseDecls(body)
		for _, sel := range strings.Split(head, ",") {
			if r, ok := parseSelector(strings.TrimSpace(sel)); ok {
				r.decls = decls
				rules = append(rules, r)
			}
		}
	}
	slices.SortStableFunc(rules, func(a, b rule) int { return a.weight - b.weight })
	return rules
}

func withoutComments(css string) string {
	var out strings.Builder
	for {
		before, rest, commented := strings.Cut(css, "/*")
		out.WriteString(before)
		if !commented {
			return out.String()
		}
		out.WriteByte(' ')
		_, css, _ = strings.Cut(rest, "*/")
	}
}

func parseSelector(s string) (rule, bool) {
	var r rule
	if s == "" || strings.ContainsAny(s, " >+~[]:@\t\n") {
		return r, false
	}
	for s != "" {
		kind := byte(0)
		if s[0] == '.' || s[0] == '#' {
			kind, s = s[0], s[1:]
		}
		end := strings.IndexAny(s, ".#")
		if end < 0 {
			end = len(s)
		}
		name := s[:end]
		s = s[end:]
		switch kind {
		case '.':
			r.classes = append(r.classes, name)
			r.weight += 10
		case '#':
			r.id = name
			r.weight += 100
		default:
			if name != "*" {
				r.tag = name
				r.weight++
			}
		}
	}
	return r, true
}

func parseDecls(body string) map[string]string {
	decls := map[string]string{}
	for _, d := range strings.Split(body, ";") {
		name, value, ok := strings.Cut(d, ":")
		if ok {
			value = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "!important"))
			decls[strings.ToLower(strings.TrimSpace(name))] = value
		}
	}
	return decls
}

func (r *rule) matches(n *node, classes []string) bool {
	if r.tag != "" && r.tag != n.tag || r.id != "" && r.id != n.attrs["id"] {
		return false
	}
	for _, c := range r.classes {
		if !slices.Contains(classes, c) {
			return false
		}
	}
	return true
}

func applyStyles(n *node, rules []rule) {
	n.style = make(map[string]string, len(n.attrs))
	for k, v := range n.attrs {
		n.style[k] = v
	}
	classes := strings.Fields(n.attrs["class"])
	for i := range rules {
		if rules[i].matches(n, classes) {
			for k, v := range rules[i].decls {
				n.style[k] = v
			}
		}
	}
	if s := n.attrs["style"]; s != "" {
		for k, v := range parseDecls(s) {
			n.style[k] = v
		}
	}
	for _, c := range n.children {
		applyStyles(c, rules)
	}
}
