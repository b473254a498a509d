package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"platform-kit/assets"
	"platform-kit/render"
	"platform-kit/worker"
)

// keptTemplates is how many parsed templates stay in memory, with their fonts.
const keptTemplates = 4

// templates parses templates and keeps the most recent ones.
type templates struct {
	assets *assets.Store

	mu     sync.Mutex
	recent []*parsed // the most recently used in front
}

// parsed is a template that is, or is being, parsed: once for all who wait.
type parsed struct {
	digest string
	done   chan struct{}
	tpl    *render.Template
	err    error
}

func newTemplates(store *assets.Store) *templates { return &templates{assets: store} }

// get returns the template named digest. A failure is not kept.
func (t *templates) get(ctx context.Context, digest string) (*render.Template, error) {
	p := t.lookUp(digest)
	select {
	case <-p.done:
		return p.tpl, p.err
	case <-ctx.Done():
		return nil, worker.Unavailable(fmt.Errorf("template %s: %w", digest, ctx.Err()))
	}
}

func (t *templates) lookUp(digest string) *parsed {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, p := range t.recent {
		if p.digest == digest {
			copy(t.recent[1:i+1], t.recent[:i])
			t.recent[0] = p
			return p
		}
	}
	p := &parsed{digest: digest, done: make(chan struct{})}
	t.recent = append([]*parsed{p}, t.recent...)
	t.recent = t.recent[:min(len(t.recent), keptTemplates)]
	go func() {
		defer close(p.done)
		if p.tpl, p.err = t.parse(digest); p.err != nil {
			t.forget(p)
		}
	}()
	return p
}

func (t *templates) forget(failed *parsed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, p := range t.recent {
		if p == failed {
			t.recent = append(t.recent[:i:i], t.recent[i+1:]...)
			return
		}
	}
}

// parse works for all who wait and for those to come, so it ends with no single request.
func (t *templates) parse(digest string) (tpl *render.Template, err error) {
	defer func() {
		if value := recover(); value != nil {
			tpl, err = nil, fmt.Errorf("the template %s made the parser panic: %v", digest, value)
		}
	}()
	bundle, err := t.assets.Get(context.Background(), digest)
	if err != nil {
		return nil, assetError("", "template", err)
	}
	tpl, err = render.Parse(bundle, func(file string) ([]byte, error) {
		return t.assets.Get(context.Background(), file)
	})
	var reject *render.RejectError
	switch {
	case err == nil:
		return tpl, nil
	case isAssetError(err):
		return nil, assetError("", "template", err)
	case errors.As(err, &reject):
		return nil, worker.Reject(reject.Column, reject.Reason)
	default:
		// The bundle's bytes never change, so neither does this.
		return nil, worker.Reject("", fmt.Sprintf("the template %s cannot be used: %v", digest, err))
	}
}

func isAssetError(err error) bool {
	return errors.Is(err, assets.ErrUnavailable) || errors.Is(err, assets.ErrNotFound) || errors.Is(err, assets.ErrDamaged)
}

// assetError says what a failed fetch means for the card: a bucket that answered has had its say, one that
// could not be asked will be asked again.
func assetError(column, what string, err error) error {
	if errors.Is(err, assets.ErrUnavailable) {
		return worker.Unavailable(fmt.Errorf("%s: %w", what, err))
	}
	return worker.Reject(column, fmt.Sprintf("%s: %v", what, err))
}
