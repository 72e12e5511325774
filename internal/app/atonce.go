package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/ports"
)

// atOnce makes calls that do not depend on each other, all of them, and returns
// the first error in their order. A rebuild that does one thing at a time makes
// them one after the other, so that its n-th call is always the same.
func (r *rebuild) atOnce(calls ...func() error) error {
	errs := make([]error, len(calls))
	if r.request.parallel() == 1 {
		for _, call := range calls {
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	}
	var made sync.WaitGroup
	for i, call := range calls[1:] {
		made.Go(func() { errs[i+1] = call() })
	}
	errs[0] = calls[0]()
	made.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// counts are the own clusters of a copy, and of what it is compared with, at one
// moment.
type counts struct {
	copied uint64
	asked  []offer
	now    []uint64 // of each that was asked
}

// countOwn is how many own clusters an lvol has.
func countOwn(ctx context.Context, host ports.Host, uuid string) (uint64, error) {
	if counter, ok := can[ports.Counter](host); ok {
		return counter.Count(ctx, uuid)
	}
	l, err := host.Look(ctx, uuid)
	return l.Own.Count, err
}

// countSource counts a snapshot of a source, which may be gone.
func (x *execution) countSource(ctx context.Context, of offer) (uint64, error) {
	own, err := countOwn(ctx, x.sources.host(of.at), of.origin.UUID)
	if errors.Is(err, ports.ErrNotFound) && of.at == x.seen.primary {
		return 0, fmt.Errorf("%w: the source's snapshot is gone", errPlanAgain)
	}
	return own, ofSource(of.at, err)
}

// countAsked are the calls that count what a copy is compared with.
func (x *execution) countAsked(ctx context.Context, now *counts, began source) (calls []func() error, err error) {
	if now.asked, err = x.checkers(began); err != nil {
		return nil, err
	}
	now.now = make([]uint64, len(now.asked))
	for i, of := range now.asked {
		calls = append(calls, func() (err error) { now.now[i], err = x.countSource(ctx, of); return err })
	}
	return calls, nil
}
