package art

import (
	"bytes"
	"regexp"
)

// outside finds what the drawing code would leave out in silence: style sheets and fonts from elsewhere.
var outside = regexp.MustCompile(`(?i)@import|<\?xml-stylesheet|url\(\s*["']?\s*(?:[a-z][a-z0-9+.-]*:|//|\\|/|\.)[^)]{0,40}`)

// layered finds what is drawn by way of a canvas of its own.
var layered = regexp.MustCompile(`opacity|mask|filter`)

const layerLimit = 40

func (i *Info) svg(data []byte) error {
	head := data[:min(len(data), 4096)]
	if bytes.Contains(bytes.ToLower(head), []byte("<html")) {
		return refuse("the content is HTML; art is PNG, JPEG, WebP or plain SVG")
	}
	for _, found := range outside.FindAll(data, 20) {
		if !bytes.Contains(bytes.ToLower(found), []byte("data:")) {
			return refuse("%.60q refers to something outside of the file; embed it instead", found)
		}
	}
	layers := 3 + min(layerLimit, len(layered.FindAllIndex(data, layerLimit)))
	i.cost = int64(layers) * 4 * MaxSide * MaxSide / 2
	if bytes.Contains(data, []byte("data:image")) {
		i.cost += 96 << 20 // an embedded picture, decoded
	}
	i.cost = min(i.cost+8*int64(len(data)), maxCost)
	return nil
}
