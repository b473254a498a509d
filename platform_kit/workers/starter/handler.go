package main

import (
	"context"
	"encoding/json"
	"strings"

	"platform-kit/worker"
)

// wordsPerSecond is how fast a player reads.
const wordsPerSecond = 4

// card is what is read of a request; its other fields are passed over.
type card struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// reading is the answer.
type reading struct {
	ID      string  `json:"id"`
	Words   int     `json:"words"`
	Seconds float64 `json:"seconds"`
}

// handle says how long a card takes to read. Replace it by what your worker does.
//
// It is called for several requests at once, so what they share needs a lock. Its error decides what becomes of the
// message: worker.Reject for what is wrong with the message itself, worker.Unavailable(err) for something that is
// away and will come back, and any other error for a failure that may pass. Something slow should give up when ctx
// is done.
func handle(ctx context.Context, req worker.Request) (worker.Response, error) {
	var c card
	if err := json.Unmarshal(req.Data, &c); err != nil {
		return worker.Response{}, worker.Reject("", "the request is not a card: "+err.Error())
	}
	if strings.TrimSpace(c.Name) == "" {
		return worker.Response{}, worker.Reject("name", "the card has no name")
	}
	words := len(strings.Fields(c.Name)) + len(strings.Fields(c.Text))
	data, err := json.Marshal(reading{ID: c.ID, Words: words, Seconds: float64(words) / wordsPerSecond})
	return worker.Response{Data: data}, err
}
