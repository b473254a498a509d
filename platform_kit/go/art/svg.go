package art

import (
	"bytes"
	"regexp"

	"platform-kit/raster"
)

// outside finds what the drawing code would leave out in silence: style sheets and fonts from elsewhere.
var outside = regexp.MustCompile(`(?i)@import|<\?xml-stylesheet|url\(\s*["']?\s*(?:[a-z][a-z0-9+.-]*:|//|\\|/|\.)[^)]{0,40}`)

// layered finds what is drawn by way of a canvas of its own.
var layered = regexp.MustCompile(`opacity|mask|filter`)

const layerLimit = 40

// inspectSVG refuses what could not be drawn as it is meant, and says what drawing may take.
func inspectSVG(data []byte) (raster.Info, error) {
	info := raster.Info{Kind: raster.SVG, Orientation: 1}
	head := data[:min(len(data), 4096)]
	if bytes.Contains(bytes.ToLower(head), []byte("<html")) {
		return info, raster.Refuse("the content is HTML; art is PNG, JPEG, WebP or plain SVG")
	}
	for _, found := range outside.FindAll(data, 20) {
		if !bytes.Contains(bytes.ToLower(found), []byte("data:")) {
			return info, raster.Refuse("%.60q refers to something outside of the file; embed it instead", found)
		}
	}
	layers := 3 + min(layerLimit, len(layered.FindAllIndex(data, layerLimit)))
	info.Cost = int64(layers) * 4 * MaxSide * MaxSide / 2
	if bytes.Contains(data, []byte("data:image")) {
		info.Cost += 96 << 20 // an embedded picture, decoded
	}
	info.Cost = min(info.Cost+8*int64(len(data)), raster.MaxCost)
	return info, nil
}
