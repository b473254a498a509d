package worker

import (
	"errors"
	"sync/atomic"
	"time"
)

// counters of a pool; its jobs keep them.
type counters struct {
	requests, served, failed, rejected, refused, busyNanos, running, waiting atomic.Int64
}

// poolStats is what `nats micro stats` shows as the endpoint's data. micro's own processing time covers only
// the hand-over to the pool.
//
// Every request counts once: answered well, failed, rejected, refused, or still waiting or running. A handler that
// was answered for is running until it returns.
type poolStats struct {
	Requests     int64   `json:"requests"`
	Failed       int64   `json:"failed"`
	Rejected     int64   `json:"rejected"`
	Refused      int64   `json:"refused"`
	Running      int64   `json:"running"`
	Waiting      int64   `json:"waiting"`
	Concurrency  int     `json:"concurrency"`
	BusySeconds  float64 `json:"busy_seconds"`
	AverageMilli float64 `json:"average_ms"`
}

func (c *counters) count(err error) {
	var reject *RejectError
	switch {
	case err == nil:
	case errors.As(err, &reject):
		c.rejected.Add(1)
	default:
		c.failed.Add(1)
	}
}

func (p *pool) stats() poolStats {
	s := poolStats{
		Requests: p.requests.Load(), Failed: p.failed.Load(), Rejected: p.rejected.Load(), Refused: p.refused.Load(),
		Running: p.running.Load(), Waiting: p.waiting.Load(), Concurrency: p.limits.Concurrency,
		BusySeconds: time.Duration(p.busyNanos.Load()).Seconds(),
	}
	if served := p.served.Load(); served > 0 {
		s.AverageMilli = s.BusySeconds * 1000 / float64(served)
	}
	return s
}
