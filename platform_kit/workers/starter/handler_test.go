package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"platform-kit/worker"
)

func TestHandle(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		answer  string
		column  string // of the rejection, where reason is not ""
		reason  string
	}{
		"a card":           {request: `{"id":"7","name":"Night Heron","text":"Flying. It fishes alone."}`, answer: `{"id":"7","words":6,"seconds":1.5}`},
		"without a text":   {request: `{"id":"8","name":"森の王"}`, answer: `{"id":"8","words":1,"seconds":0.25}`},
		"without a name":   {request: `{"id":"9","name":" "}`, column: "name", reason: "the card has no name"},
		"an empty request": {request: ``, reason: "the request is not a card: unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := handle(context.Background(), worker.Request{Data: []byte(test.request)})
			if test.reason == "" {
				if err != nil || string(got.Data) != test.answer {
					t.Fatalf("got %s and %v, want %s", got.Data, err, test.answer)
				}
				return
			}
			var rejected *worker.RejectError
			if !errors.As(err, &rejected) || rejected.Column != test.column || rejected.Reason != test.reason {
				t.Fatalf("got %v, want column %q: %s", err, test.column, test.reason)
			}
		})
	}
}

// Whatever comes in, the worker answers with JSON or rejects it. More than the seeds below is tried by
//
//	go test -fuzz=FuzzHandle -fuzztime=30s
func FuzzHandle(f *testing.F) {
	f.Add([]byte(`{"id":"7","name":"Night Heron"}`))
	f.Add([]byte(`{"name":1}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, request []byte) {
		got, err := handle(context.Background(), worker.Request{Data: request})
		var rejected *worker.RejectError
		switch {
		case errors.As(err, &rejected) && rejected.Reason != "":
		case err == nil && json.Valid(got.Data):
		default:
			t.Fatalf("got %q and %v", got.Data, err)
		}
	})
}
