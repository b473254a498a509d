package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"platform-kit/assets"
	"platform-kit/worker"
)

// handlerOver returns a renderer whose bucket is source.
func handlerOver(source assets.Source) worker.Handler {
	return (&renderer{instance: "test-1", templates: newTemplates(assets.New(source, 1<<20))}).handle
}

// junk has the SHA-256 it is asked for below, and is no template.
const (
	junk       = "junk"
	junkDigest = "ef875a1705a5fdac206be996f4dc1f726ea6b68861eb741c37def7277f179e37"
)

func TestWhatFailsBeforeDrawingIsSorted(t *testing.T) {
	for name, c := range map[string]struct {
		data      string
		source    error
		permanent bool
		says      string
	}{
		"not JSON":           {"{", nil, true, "not the JSON"},
		"no such template":   {good, assets.ErrNotFound, true, "not in the bucket"},
		"a damaged template": {good, assets.ErrDamaged, true, "damaged"},
		"no bucket":          {good, fmt.Errorf("%w: timeout", assets.ErrUnavailable), false, "cannot be read now"},
	} {
		t.Run(name, func(t *testing.T) {
			handle := handlerOver(func(context.Context, string) ([]byte, error) { return nil, c.source })
			_, err := handle(t.Context(), worker.Request{Data: []byte(c.data)})
			var reject *worker.RejectError
			var unavailable *worker.UnavailableError
			if errors.As(err, &reject) != c.permanent || errors.As(err, &unavailable) == c.permanent {
				t.Fatalf("got %T %v", err, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v", err)
			}
		})
	}
}

func TestArtThatCannotBeHadIsSorted(t *testing.T) {
	const bundle = `{"format":1,"name":"art","width":20,"height":20,"dpi":300,"layers":[{"kind":"art","box":[0,0,20,20],"fit":"cover"}]}`
	template := fmt.Sprintf("%x", sha256.Sum256([]byte(bundle)))
	data := strings.Replace(strings.Replace(good, zeros, template, 1), `"art":null,"art_type":null`, `"art":"`+junkDigest+`","art_type":"png"`, 1)
	for name, c := range map[string]struct {
		source    error
		permanent bool
		says      string
	}{
		"not there": {assets.ErrNotFound, true, "not in the bucket"},
		"no bucket": {assets.ErrUnavailable, false, "cannot be read now"},
		"no PNG":    {nil, true, "neither PNG, JPEG, WebP nor SVG"},
	} {
		t.Run(name, func(t *testing.T) {
			handle := handlerOver(func(_ context.Context, digest string) ([]byte, error) {
				if digest == template {
					return []byte(bundle), nil
				}
				return []byte(junk), c.source
			})
			_, err := handle(t.Context(), worker.Request{Data: []byte(data)})
			var reject *worker.RejectError
			var unavailable *worker.UnavailableError
			if errors.As(err, &reject) != c.permanent || errors.As(err, &unavailable) == c.permanent || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %T %v", err, err)
			}
			if reject != nil && reject.Column != "art" {
				t.Errorf("the column is %q", reject.Column)
			}
		})
	}
}

func TestATemplateThatCannotBeReadIsRejectedOnce(t *testing.T) {
	asked := 0
	handle := handlerOver(func(context.Context, string) ([]byte, error) {
		asked++
		return []byte(junk), nil
	})
	data := strings.Replace(good, zeros, junkDigest, 1)
	for range 2 {
		_, err := handle(t.Context(), worker.Request{Data: []byte(data)})
		var reject *worker.RejectError
		if !errors.As(err, &reject) || !strings.Contains(reject.Reason, junkDigest) {
			t.Fatalf("got %v", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked the bucket %d times, want 1", asked)
	}
}

func TestATemplateIsAskedForAgainWhenTheBucketIsBack(t *testing.T) {
	away := true
	handle := handlerOver(func(context.Context, string) ([]byte, error) {
		if away {
			return nil, assets.ErrUnavailable
		}
		return nil, assets.ErrNotFound
	})
	ask := func() error {
		_, err := handle(t.Context(), worker.Request{Data: []byte(good)})
		return err
	}
	var unavailable *worker.UnavailableError
	if err := ask(); !errors.As(err, &unavailable) {
		t.Fatalf("got %v, want unavailable", err)
	}
	away = false
	var reject *worker.RejectError
	if err := ask(); !errors.As(err, &reject) {
		t.Fatalf("got %v, want a rejection", err)
	}
}
