package art

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// slow are small files that would make a careless program draw for minutes.
func slow() map[string]string {
	var chain, attributes strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&chain, "<linearGradient id='g%d' href='#g%d'/>", i, i+1)
		fmt.Fprintf(&attributes, "a%d='1' ", i)
	}
	rect := "<rect width='4' height='3' %s/>"
	return map[string]string{
		"comments":   "<style>" + strings.Repeat("/**/", 200_000) + "</style>",
		"rules":      "<style>" + strings.Repeat("a.b.c#d{fill:red}", 5000) + "</style>" + strings.Repeat("<a class='x y z'/>", 99_000),
		"attributes": "<g " + attributes.String() + "/>",
		"stops": "<linearGradient id='a'>" + strings.Repeat("<stop offset='.5'/>", 90_000) + "</linearGradient>" +
			strings.Repeat(fmt.Sprintf(rect, "fill='url(#a)'"), 5000),
		"dashes": "<path d='M0 0" + strings.Repeat("l1 1 ", 200_000) + "' stroke='red' stroke-dasharray='.0001'/>",
		"patterns": "<pattern id='p' width='.0001' height='.0001'><rect width='1' height='1'/></pattern>" +
			strings.Repeat(fmt.Sprintf(rect, "fill='url(#p)'"), 300),
		"blurs": "<filter id='f'><feGaussianBlur stdDeviation='100000'/></filter>" +
			strings.Repeat(fmt.Sprintf(rect, "filter='url(#f)'"), 300),
		"layers": strings.Repeat("<g opacity='.5'>", 90) + fmt.Sprintf(rect, "") + strings.Repeat("</g>", 90),
		"masks": "<mask id='m'>" + fmt.Sprintf(rect, "fill='#fff'") + "</mask>" +
			strings.Repeat("<g mask='url(#m)'>", 90) + fmt.Sprintf(rect, "") + strings.Repeat("</g>", 90),
		"chain": chain.String() + fmt.Sprintf(rect, "fill='url(#g0)'"),
	}
}

// Whether such a file is drawn or refused does not matter; that it is answered does. The limit is far above what any
// of them takes, and far below the minutes some would take without a budget.
func TestWhatLooksSlowIsAnswered(t *testing.T) {
	studio := NewStudio()
	for name, body := range slow() {
		t.Run(name, func(t *testing.T) {
			answered := make(chan error, 1)
			go func() {
				_, err := studio.Prepare(t.Context(), []byte(svgHead+body+"</svg>"), "svg", Options{LongestSide: 256, ThumbnailSide: 64})
				answered <- err
			}()
			started := time.Now()
			select {
			case err := <-answered:
				t.Logf("%v: %v", time.Since(started).Round(time.Millisecond), err)
			case <-time.After(60 * time.Second):
				t.Fatal("not answered")
			}
		})
	}
}
