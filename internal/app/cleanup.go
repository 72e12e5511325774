package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// cleanUpTime is what a clean-up may take once its rebuild has failed or was
// cancelled.
const cleanUpTime = 30 * time.Second

// tidyAgainFor is how long all of a clean-up's calls together are tried again that
// fail for a passing reason. A host that is gone has nothing to tidy up.
const tidyAgainFor = 2 * time.Second

// ErrCleanUp is what errors are by which something of a run may be left on a
// host. The next run removes it.
var ErrCleanUp = errors.New("clean up, the next run will")

// lostCleanUpTime is what it may take on a source that has failed already.
const lostCleanUpTime = 2 * time.Second

// open removes what crashed runs of this replica have left open on all hosts.
// It comes before anything is made: a copy that outlived its engine writes
// into whatever lvol is received under its address next.
func (x *execution) open(ctx context.Context) error {
	sweep := func(ctx context.Context, host ports.Host) error { return host.Release(ctx, x.run) }
	calls := x.releases(ctx, once, sweep, ofSource)
	if slices.ContainsFunc(x.plan.Operations, func(o domain.Operation) bool { return o.Verb == domain.VerbCopy }) {
		calls = append(calls, func() error {
			_, err := x.peer(ctx, x.seen.primary)
			return err
		})
	}
	calls = append(calls, func() error { x.prepare(ctx); return nil })
	if err := x.atOnce(calls...); err != nil {
		return fmt.Errorf("close what earlier runs left open: %w", err)
	}
	return nil
}

// releases are the calls that end what is open for the run. What sends goes
// first: it would try to reach again what receives.
func (x *execution) releases(ctx context.Context, try trying, end func(context.Context, ports.Host) error, failed func(at int, err error) error) []func() error {
	release := func(ctx context.Context, host ports.Host) error {
		return try(ctx, quietly, func(int) error { return end(ctx, host) })
	}
	var calls []func() error
	for _, at := range x.opened {
		calls = append(calls, func() error {
			ctx := ctx
			if x.sources.whyLost(at) != nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, lostCleanUpTime)
				defer cancel()
			}
			return failed(at, release(ctx, x.sources.host(at)))
		})
	}
	return append(calls, func() error { return release(ctx, x.request.Destination.Host) })
}

func (x *execution) end(ctx context.Context, host ports.Host) error {
	return endOwn(ctx, host, x.run)
}

// ofUsed marks an error as a source's, unless that is not used any more: then
// nobody waits for it.
func (x *execution) ofUsed(at int, err error) error {
	if !slices.Contains(x.sources.used(), at) {
		return nil
	}
	return ofSource(at, err)
}

// forgive: of several sources, one that does not answer any more fails nobody's
// rebuild. A connection at most is left there, for the next run or gc.
func (x *execution) forgive(failure error) error {
	var of *sourceError
	if !x.sources.several() || !errors.As(failure, &of) {
		return failure
	}
	x.mayHaveLeft(of.at, of.err)
	return nil
}

// trying is how often something is tried: insist, or once.
type trying func(ctx context.Context, again func(error), do func(attempt int) error) error

func once(_ context.Context, _ func(error), do func(attempt int) error) error { return do(0) }

// close ends what the run has opened, which nothing needs any more once all is
// copied: it goes on beside the rest of the run. A run that does one thing at a
// time does it at its end.
func (x *execution) close(ctx context.Context) {
	if x.request.parallel() == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	x.closed = make(chan error, 1)
	go func() {
		defer cancel()
		x.closed <- x.atOnce(x.releases(ctx, insist, x.end, func(at int, err error) error { return x.forgive(ofSource(at, err)) })...)
	}()
}

// compareViews waits until close is over first, for it opens more: a release that
// goes on would end that, too. cleanUp closes it.
func (x *execution) compareViews(ctx context.Context, seen sight, image domain.Image) ([]domain.Violation, error) {
	if x.request.Views && x.closed != nil {
		err := <-x.closed
		x.closed = nil
		if err != nil {
			return nil, fmt.Errorf("close what was received: %w", err)
		}
	}
	return x.rebuild.compareViews(ctx, seen, image)
}

// claimImage shows others that the image in flight is being filled: it has no
// replica's name.
func (x *execution) claimImage(ctx context.Context, host ports.Host, name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.claimed[name] != nil {
		return nil
	}
	release, err := x.engine.claimNow(ctx, host, claimOfImage(x.seen.destination.Store.UUID, name), ports.Lease{Holder: x.holder})
	if err == nil {
		x.claimed[name] = release
	}
	return err
}

// cleanUp leaves nothing of this run that has no final name, whatever became
// of the run and of its context.
func (x *execution) cleanUp(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	defer func() {
		x.unlockSources(slices.Collect(maps.Keys(x.copiedFrom))...)
		for _, release := range x.claimed {
			release()
		}
	}()
	x.endPreparing()
	var problems []error
	again := tidyAgain()
	closed := x.closed != nil && <-x.closed == nil
	for uuid := range x.received {
		// First the copies end that may still go on, on the target if not here.
		problems = append(problems, again(ctx, func() error { return x.request.Destination.Host.Withdraw(ctx, x.run, uuid) }))
	}
	if !closed {
		for _, release := range x.releases(ctx, once, x.end, x.ofUsed) {
			problems = append(problems, x.forgive(again(ctx, release)))
		}
	}
	if failure != nil {
		problems = append(problems, again(ctx, func() error { return x.deleteInFlight(ctx) }))
	}
	if full(failure) && !x.crowning && !x.isKept() {
		problems = append(problems, again(ctx, func() error { return x.deleteSealed(ctx) }))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrCleanUp, err)
	}
	return nil
}

// tidyAgain does calls of a clean-up, again where they fail for a passing reason and
// there is time: what is done must not count as failed because the last call was
// lost. Where a host is gone, it is not waited for long.
func tidyAgain() func(ctx context.Context, do func() error) error {
	until := time.Now().Add(tidyAgainFor)
	return func(ctx context.Context, do func() error) error {
		for pause := firstRetry; ; pause *= 2 {
			err := do()
			if err == nil || !transient(err) && !busy(err) || time.Now().Add(pause).After(until) || wait(ctx, pause) != nil {
				return err
			}
		}
	}
}

// deleteInFlight deletes what this run has drawn names for, also in earlier attempts,
// and helpers that an adapter could not remove. Names are looked for, not UUIDs: a
// create whose answer was lost has told none.
func (x *execution) deleteInFlight(ctx context.Context) error {
	listed := make(map[string]bool)
	for _, l := range x.seen.destination.Store.Lvols {
		listed[l.UUID] = true
	}
	return deleteNamed(ctx, x.request.Destination.Host, func(l domain.Lvol) bool {
		of, inFlight := domain.ReplicaInFlight(l.Name)
		ours := inFlight && of == x.run.Replica && strings.HasPrefix(l.Name, domain.InFlightLvolName(of, "")) // Longhorn's has no digits
		return x.names[l.Name] || ours && !listed[l.UUID]
	})
}

// isKept reports whether the next run can prove what this one has sealed.
func (x *execution) isKept() bool {
	return x.request.Journal != nil || x.seen.source.Store.Proves && x.seen.destination.Store.Proves
}

// deleteSealed gives the room back of what this run has sealed, which the next one would
// delete: until then others may need it.
func (x *execution) deleteSealed(ctx context.Context) error {
	sealed := make(map[string]bool)
	for _, s := range x.sealed {
		sealed[s.Copy] = true
	}
	return deleteNamed(ctx, x.request.Destination.Host, func(l domain.Lvol) bool { return sealed[l.UUID] })
}

// deleteNamed deletes what is called so, leaves first.
func deleteNamed(ctx context.Context, host ports.Host, named func(domain.Lvol) bool) error {
	store, err := host.List(ctx)
	if err != nil {
		return err
	}
	var left []domain.Lvol
	carries := make(map[string]int) // by UUID: how many hang on it
	for _, l := range store.Lvols {
		carries[l.Parent]++
		if named(l) {
			left = append(left, l)
		}
	}
	var problems []error
	for len(left) > 0 {
		i := max(0, slices.IndexFunc(left, func(l domain.Lvol) bool { return carries[l.UUID] == 0 }))
		l := left[i]
		left = slices.Delete(left, i, i+1)
		err := patiently(ctx, func() error { return host.Delete(ctx, l.UUID) })
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			problems = append(problems, fmt.Errorf("delete lvol %s: %w", l.Name, err))
			continue
		}
		carries[l.Parent]--
	}
	return errors.Join(problems...)
}

// unlockImage lets the rebuilds go on that wait for the image. It is called
// once the image is there, and again at the end, when it may not be.
func (x *execution) unlockImage() {
	x.mu.Lock()
	unlock := x.imageLock
	x.imageLock = func() {}
	x.mu.Unlock()
	unlock()
}
