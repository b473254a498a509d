package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"platform-kit/art"
	"platform-kit/assets"
	"platform-kit/worker"
)

// request asks for one picture, or for the atlas of a list of them.
type request struct {
	Task      string `json:"task"`      // "prepare" or "pack"
	Source    string `json:"source"`    // the picture, or the list, by the SHA-256 of its bytes
	Extension string `json:"extension"` // of the picture's name, without the dot
	Options   struct {
		art.Options
		art.PageOptions
	} `json:"options"`
}

type handler struct {
	instance string
	sources  *assets.Store
	files    interface {
		Put(ctx context.Context, file *art.File, kind string) error
		Get(ctx context.Context, digest string) ([]byte, error)
	}
	studio *art.Studio
}

type original struct {
	Kind        string `json:"kind"`
	Width       int    `json:"width"` // 0 for an SVG
	Height      int    `json:"height"`
	Orientation int    `json:"orientation"`
}

type preparedReply struct {
	Original  original           `json:"original"`
	Picture   *art.File          `json:"picture"`
	Thumbnail *art.File          `json:"thumbnail"`
	Opaque    bool               `json:"opaque"`
	Warnings  []string           `json:"warnings"`
	TimingsMS map[string]float64 `json:"timings_ms"`
	Worker    string             `json:"worker"`
}

type packedReply struct {
	Manifest  *art.File          `json:"manifest"`
	Pages     []*art.File        `json:"pages"`
	Sprites   int                `json:"sprites"`
	TimingsMS map[string]float64 `json:"timings_ms"`
	Worker    string             `json:"worker"`
}

func (h *handler) handle(ctx context.Context, in worker.Request) (worker.Response, error) {
	req, err := decodeRequest(in.Data)
	if err != nil {
		return worker.Response{}, worker.Reject("", err.Error())
	}
	started := time.Now()
	source, err := h.sources.Get(ctx, req.Source)
	switch {
	case errors.Is(err, assets.ErrUnavailable):
		return worker.Response{}, worker.Unavailable(fmt.Errorf("the source: %w", err))
	case err != nil:
		return worker.Response{}, worker.Reject("source", err.Error())
	}
	fetched := time.Since(started)
	var reply any
	if req.Task == "pack" {
		reply, err = h.pack(ctx, req, source, fetched)
	} else {
		reply, err = h.prepare(ctx, req, source, fetched)
	}
	var refused *art.Refused
	switch {
	case errors.As(err, &refused):
		return worker.Response{}, worker.Reject("content", refused.Reason)
	case err != nil:
		return worker.Response{}, err
	}
	data, err := json.Marshal(reply)
	return worker.Response{Data: data}, err
}

func (h *handler) prepare(ctx context.Context, req request, source []byte, fetched time.Duration) (any, error) {
	made, err := h.studio.Prepare(ctx, source, req.Extension, req.Options.Options)
	if err != nil {
		return nil, err
	}
	storing := time.Now()
	for _, file := range []*art.File{made.Picture, made.Thumbnail} {
		if err := h.put(ctx, file, "image/png"); err != nil {
			return nil, err
		}
	}
	return preparedReply{
		Original:  original{made.Info.Kind, made.Info.Width, made.Info.Height, made.Info.Orientation},
		Picture:   made.Picture,
		Thumbnail: made.Thumbnail,
		Opaque:    made.Opaque,
		Warnings:  append([]string{}, made.Warnings...), // a list in JSON, never null
		TimingsMS: map[string]float64{
			"fetch": milliseconds(fetched), "decode": milliseconds(made.Decode), "scale": milliseconds(made.Scale),
			"encode": milliseconds(made.Encode), "store": milliseconds(time.Since(storing)),
		},
		Worker: h.instance,
	}, nil
}

func (h *handler) pack(ctx context.Context, req request, source []byte, fetched time.Duration) (any, error) {
	var items []art.Item
	if err := json.Unmarshal(source, &items); err != nil {
		return nil, worker.Reject("source", fmt.Sprintf("the list of pictures cannot be read: %v", err))
	}
	for _, item := range items {
		if !assets.IsDigest(item.Thumbnail) {
			return nil, worker.Reject("source", fmt.Sprintf("the thumbnail of %.80q is not named by a SHA-256", item.Path))
		}
	}
	started := time.Now()
	var storing time.Duration
	manifest, file, err := art.Pack(ctx, items, req.Options.PageOptions,
		func(ctx context.Context, digest string) ([]byte, error) {
			data, err := h.files.Get(ctx, digest)
			switch {
			case errors.Is(err, art.ErrGone):
				return nil, worker.Reject("source", "a thumbnail is gone: "+err.Error())
			case err != nil:
				return nil, worker.Unavailable(err)
			}
			return data, nil
		},
		func(ctx context.Context, file *art.File) error {
			begun := time.Now()
			defer func() { storing += time.Since(begun) }()
			kind := "image/png"
			if file.Width == 0 {
				kind = "application/json"
			}
			return h.put(ctx, file, kind)
		})
	if err != nil {
		return nil, err
	}
	return packedReply{
		Manifest: file, Pages: manifest.Pages, Sprites: len(manifest.Sprites),
		TimingsMS: map[string]float64{
			"fetch": milliseconds(fetched), "pack": milliseconds(time.Since(started) - storing),
			"store": milliseconds(storing),
		},
		Worker: h.instance,
	}, nil
}

func (h *handler) put(ctx context.Context, file *art.File, kind string) error {
	if err := h.files.Put(ctx, file, kind); err != nil {
		return worker.Unavailable(err)
	}
	return nil
}

func decodeRequest(data []byte) (req request, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&req); err != nil {
		return request{}, fmt.Errorf("the request is not the JSON of a picture: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return request{}, errors.New("the request goes on after its JSON object")
	}
	if !assets.IsDigest(req.Source) {
		return request{}, fmt.Errorf("the source %.80q is not named by a SHA-256 in lower case", req.Source)
	}
	switch req.Task {
	case "prepare":
		return req, req.Options.Options.Check()
	case "pack":
		return req, req.Options.PageOptions.Check()
	}
	return request{}, fmt.Errorf("the task %.80q is neither prepare nor pack", req.Task)
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
