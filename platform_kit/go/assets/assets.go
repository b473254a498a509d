// Package assets fetches templates, art and fonts by digest from the platform's object store.
//
// The bucket CARD_ASSETS names every object by the SHA-256 of its bytes, so what was fetched once never
// changes: [Store] keeps it in memory within a budget, asks for it once however many cards need it at the
// same moment, and hands out nothing whose bytes do not hash to its name.
package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Bucket is the object store of the platform.
	Bucket = "CARD_ASSETS"
	// MaxAssetBytes is the largest asset fetched.
	MaxAssetBytes = 64 << 20

	// askAgain is waited once before "not there" is believed: in a cluster a replica may lag.
	askAgain = 100 * time.Millisecond
)

var (
	// ErrNotFound says that the bucket answered and has no such object. Asking again will not help.
	ErrNotFound = errors.New("not in the bucket " + Bucket)
	// ErrDamaged says that an object's bytes do not hash to its name, or are too many. Asking again will not help.
	ErrDamaged = errors.New("damaged")
	// ErrUnavailable says that the bucket could not be asked. Asking again may help.
	ErrUnavailable = errors.New("the bucket " + Bucket + " cannot be read now")
)

// fetchTimeouts bound the attempts of one fetch, however many requests wait for it and whenever they give up.
var fetchTimeouts = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}

// Source fetches the bytes of an object, whatever they are; its errors are those of this package.
type Source func(ctx context.Context, digest string) ([]byte, error)

// Store is a [Source] with a memory. It is safe for concurrent use; what it returns must not be changed.
type Store struct {
	source   Source
	budget   int64
	timeouts []time.Duration

	mu      sync.Mutex
	kept    lru
	flights map[string]*flight
}

// flight is a fetch that several requests wait for.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// New returns a store that keeps up to budget bytes of what source fetched.
func New(source Source, budget int64) *Store {
	return &Store{source: source, budget: budget, timeouts: fetchTimeouts, flights: make(map[string]*flight)}
}

// Get returns the object named digest. When ctx ends first, the fetch goes on for those who ask next.
func (s *Store) Get(ctx context.Context, digest string) ([]byte, error) {
	s.mu.Lock()
	if data, ok := s.kept.get(digest); ok {
		s.mu.Unlock()
		return data, nil
	}
	f, ok := s.flights[digest]
	if !ok {
		f = &flight{done: make(chan struct{})}
		s.flights[digest] = f
		go s.fetch(digest, f)
	}
	s.mu.Unlock()

	select {
	case <-f.done:
		return f.data, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("asset %s: %w: %w", digest, ErrUnavailable, ctx.Err())
	}
}

func (s *Store) fetch(digest string, f *flight) {
	// A server that was killed in the middle of an object leaves its reader waiting for chunks that never come.
	// So the first attempt is short, and only an object that needs the time gets longer ones.
	for _, limit := range s.timeouts {
		f.data, f.err = s.attempt(digest, limit)
		if !errors.Is(f.err, ErrUnavailable) {
			break
		}
	}
	if f.err == nil {
		f.err = check(digest, f.data)
	}
	if f.err != nil {
		f.data, f.err = nil, fmt.Errorf("asset %s: %w", digest, f.err)
	}
	s.mu.Lock()
	delete(s.flights, digest)
	if f.err == nil {
		s.kept.add(digest, f.data, s.budget)
	}
	s.mu.Unlock()
	close(f.done)
}

func (s *Store) attempt(digest string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	data, err := s.source(ctx, digest)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: no answer within %v: %w", ErrUnavailable, limit, err)
	}
	return data, err
}

func check(digest string, data []byte) error {
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest {
		return fmt.Errorf("%w: its %d bytes hash to %x", ErrDamaged, len(data), sum)
	}
	return nil
}

// FromJetStream returns the source behind the real bucket, which is looked up when first needed.
func FromJetStream(js jetstream.JetStream) Source {
	var mu sync.Mutex
	var bucket jetstream.ObjectStore
	open := func(ctx context.Context) (jetstream.ObjectStore, error) {
		mu.Lock()
		defer mu.Unlock()
		if bucket == nil {
			opened, err := js.ObjectStore(ctx, Bucket)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			bucket = opened
		}
		return bucket, nil
	}
	return func(ctx context.Context, digest string) ([]byte, error) {
		store, err := open(ctx)
		if err != nil {
			return nil, err
		}
		info, err := store.GetInfo(ctx, digest)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			select {
			case <-time.After(askAgain):
			case <-ctx.Done():
			}
			info, err = store.GetInfo(ctx, digest)
		}
		switch {
		case errors.Is(err, jetstream.ErrObjectNotFound):
			return nil, ErrNotFound
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case info.Size > MaxAssetBytes:
			return nil, fmt.Errorf("%w: %d bytes are more than the limit of %d", ErrDamaged, info.Size, MaxAssetBytes)
		}
		data, err := store.GetBytes(ctx, digest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return data, nil
	}
}
