package svg

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/jpeg" // embedded pictures
	_ "image/png"
	"strings"

	"platform-kit/render/internal/vg"
)

// maxEmbedded bounds the pixels of a picture inside of an SVG.
const maxEmbedded = 16_000_000

func (r *renderer) imageBox(n *node, s *state) vg.Rect {
	return vg.Rect{
		X: parseLength(n.style["x"], s.viewW, s.fontSize, 0), Y: parseLength(n.style["y"], s.viewH, s.fontSize, 0),
		W: parseLength(n.style["width"], s.viewW, s.fontSize, 0), H: parseLength(n.style["height"], s.viewH, s.fontSize, 0),
	}
}

// image draws an embedded PNG or JPEG.
func (r *renderer) image(n *node, s *state) {
	head, body, ok := strings.Cut(n.attrs["href"], ",")
	if !ok || !strings.HasSuffix(head, ";base64") || !s.visible {
		return
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		r.err = fail("an embedded picture is not valid base64")
		return
	}
	cfg, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || kind != "png" && kind != "jpeg" {
		r.err = fail("an embedded picture is neither PNG nor JPEG")
		return
	}
	if cfg.Width > maxEmbedded/max(cfg.Height, 1) || !r.spend(4*cfg.Width*cfg.Height) {
		r.err = fail("an embedded picture of %d x %d pixels is too large", cfg.Width, cfg.Height)
		return
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		r.err = fail("an embedded picture cannot be decoded: %v", err)
		return
	}
	c := vg.FromImage(img)
	box := r.imageBox(n, s)
	if box.W == 0 {
		box.W = float64(c.W)
	}
	if box.H == 0 {
		box.H = float64(c.H)
	}
	p := &vg.Path{}
	p.Rectangle(box, 0, 0)
	m := s.m.Mul(vg.Translate(box.X, box.Y)).Mul(
		viewTransform(vg.Rect{W: float64(c.W), H: float64(c.H)}, box.W, box.H, n.attrs["preserveAspectRatio"]))
	mask := vg.FillMask(p, s.m, vg.NonZero, r.canvas.W, r.canvas.H)
	if r.spend(4 * len(mask.Pix)) {
		r.canvas.Paint(mask, vg.NewPicture(c, m, false), s.clip, s.fillOpacity)
	}
}
