package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platform-kit/assets"
	"platform-kit/worker"
)

// dropped stands for the stream: pictures are named by their digest and forgotten.
type dropped struct{}

func (dropped) store(context.Context, string, []byte) error { return nil }

// BenchmarkAlone is the handler with nothing before and after it: the requests in the file ALONE_REQUESTS, one a line,
// assets from ALONE_FOLDER/assets, as many cards at once as there are cores. Those in ALONE_WARM are drawn before. It
// reports the processor time a card, which benchmarks/cards.py takes from that of a whole platform. It is right for the
// first round (-test.benchtime 1x): in a second one every card has been drawn before.
func BenchmarkAlone(b *testing.B) {
	folder := os.Getenv("ALONE_FOLDER")
	if folder == "" {
		b.Skip("needs ALONE_FOLDER, ALONE_WARM and ALONE_REQUESTS; benchmarks/cards.py --part transport sets them")
	}
	requestsIn := func(variable string) [][]byte {
		data, err := os.ReadFile(os.Getenv(variable))
		if err != nil {
			b.Fatalf("%s: %v", variable, err)
		}
		return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	}
	warm, requests := requestsIn("ALONE_WARM"), requestsIn("ALONE_REQUESTS")
	source := func(_ context.Context, digest string) ([]byte, error) {
		return os.ReadFile(filepath.Join(folder, "assets", digest))
	}
	handle := (&renderer{instance: "alone", templates: newTemplates(assets.New(source, assetBudget)), images: dropped{}}).handle

	draw := func(requests [][]byte) {
		var next atomic.Int64
		var all sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(requests); i = next.Add(1) - 1 {
					if _, err := handle(context.Background(), worker.Request{Data: requests[i]}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	draw(warm) // template, glyphs and art are kept from now on, as in a worker that has drawn a deck
	b.ResetTimer()
	before := processorTime(b)
	for range b.N {
		draw(requests)
	}
	b.ReportMetric((processorTime(b)-before).Seconds()*1000/float64(b.N*len(requests)), "cpu-ms/card")
}

// processorTime is what this process has taken so far. Unlike the time on the clock, it says the same on a busy machine.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
