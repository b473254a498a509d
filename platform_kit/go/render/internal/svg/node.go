// Package svg draws the static part of SVG: shapes, paths, text, gradients,
// patterns, groups, use, clip paths, masks, strokes, simple style sheets,
// embedded raster images, blurs and drop shadows. It opens no file and no
// connection, and bounds the work a document may cause.
package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a document.
const (
	MaxBytes = 8 << 20
	maxDepth = 100
	maxNodes = 100_000
	// maxMatches bounds how often a rule of the style sheet is held against an element.
	maxMatches = 10_000_000
)

// Error says what about a document cannot be drawn.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func fail(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

type node struct {
	tag      string
	attrs    map[string]string
	style    map[string]string // attributes and declarations, the stronger winning
	text     string
	children []*node
}

// document is a parsed tree.
type document struct {
	root *node
	ids  map[string]*node
}

func parse(data []byte) (*document, error) {
	if len(data) > MaxBytes {
		return nil, fail("an SVG of %d bytes; at most %d are allowed", len(data), MaxBytes)
	}
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.Strict = true
	dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "utf-8") || strings.EqualFold(label, "us-ascii") {
			return in, nil
		}
		return nil, fmt.Errorf("encoding %q; SVG art has to be UTF-8", label)
	}
	doc := &document{ids: map[string]*node{}}
	var stack []*node
	var sheet strings.Builder
	count := 0
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fail("not well-formed SVG: %v", err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			if bytes.Contains(bytes.ToUpper(t), []byte("ENTITY")) {
				return nil, fail("an SVG that defines entities; write the text out instead")
			}
		case xml.StartElement:
			if count++; count > maxNodes {
				return nil, fail("an SVG of more than %d elements", maxNodes)
			}
			if len(stack) >= maxDepth {
				return nil, fail("an SVG nested more than %d deep", maxDepth)
			}
			n := &node{tag: t.Name.Local, attrs: map[string]string{}}
			for _, a := range t.Attr {
				if a.Name.Space == "" || a.Name.Space == "xlink" || strings.HasSuffix(a.Name.Space, "/xlink") ||
					a.Name.Space == "xml" {
					if _, there := n.attrs[a.Name.Local]; !there || a.Name.Space == "" {
						n.attrs[a.Name.Local] = strings.TrimSpace(a.Value)
					}
				}
			}
			if id := n.attrs["id"]; id != "" && doc.ids[id] == nil {
				doc.ids[id] = n
			}
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.children = append(top.children, n)
			} else if doc.root == nil {
				doc.root = n
			}
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) == 0 {
				continue
			}
			top := stack[len(stack)-1]
			switch top.tag {
			case "style":
				sheet.Write(t)
			case "text", "tspan", "a":
				top.children = append(top.children, &node{tag: "#text", text: string(t)})
			}
		}
	}
	if doc.root == nil || doc.root.tag != "svg" {
		return nil, fail("not an SVG: there is no <svg> element")
	}
	rules := parseSheet(sheet.String())
	if len(rules)*count > maxMatches {
		return nil, fail("an SVG of %d elements and %d style rules takes too much work", count, len(rules))
	}
	applyStyles(doc.root, rules)
	return doc, nil
}

// href returns the id an element refers to.
func (n *node) href() string {
	if h := n.attrs["href"]; strings.HasPrefix(h, "#") {
		return h[1:]
	}
	return ""
}
