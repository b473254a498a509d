package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"platform-kit/assets"
	"platform-kit/raster"
)

// request is one card to draw, as the pipeline sends it.
type request struct {
	ID       string         `json:"id"`
	Card     map[string]any `json:"card"`
	Derived  map[string]any `json:"derived"`
	Template string         `json:"template"`
	Art      string         `json:"art"`
	ArtType  string         `json:"art_type"`
	Seed     int64          `json:"seed"`
}

// decodeRequest reads and checks a request. An error names the column at fault, or "".
func decodeRequest(data []byte) (req request, column string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&req); err != nil {
		return request{}, "", fmt.Errorf("the request is not the JSON of a card: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return request{}, "", errors.New("the request goes on after its JSON object")
	}
	switch {
	case req.ID == "":
		return request{}, "id", errors.New("the card has no id")
	case req.Card == nil:
		return request{}, "", errors.New(`the request has no "card"`)
	case !assets.IsDigest(req.Template):
		return request{}, "", fmt.Errorf("the template %q is not named by a SHA-256 in lower case", clip(req.Template))
	case req.Art == "" && req.ArtType == "":
	case !assets.IsDigest(req.Art):
		return request{}, "art", fmt.Errorf("the art %q is not named by a SHA-256 in lower case", clip(req.Art))
	case !slices.Contains([]string{raster.SVG, raster.PNG, raster.JPEG, raster.WebP}, req.ArtType):
		return request{}, "art", fmt.Errorf("art of type %q cannot be drawn; svg, png, jpeg and webp can", clip(req.ArtType))
	}
	return req, "", nil
}

// clip shortens what a message quotes.
func clip(text string) string {
	if runes := []rune(text); len(runes) > 80 {
		return string(runes[:80]) + "…"
	}
	return text
}
