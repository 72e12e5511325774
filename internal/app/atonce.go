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

// counts are the own clusters of a copy and of its source at one moment.
type counts struct{ copied, source uint64 }

// countOwn is how many own clusters an lvol has.
func countOwn(ctx context.Context, host ports.Host, uuid string) (uint64, error) {
	if counter, ok := can[ports.Counter](host); ok {
		return counter.Count(ctx, uuid)
	}
	l, err := host.Look(ctx, uuid)
	return l.Own.Count, err
}

// countSource counts a snapshot of the source, which may be gone.
func (x *execution) countSource(ctx context.Context, uuid string) (uint64, error) {
	own, err := countOwn(ctx, x.request.Source.Host, uuid)
	if errors.Is(err, ports.ErrNotFound) {
		return 0, fmt.Errorf("%w: the source's snapshot is gone", errPlanAgain)
	}
	return own, err
}
