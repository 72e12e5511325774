package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What is claimed among processes.
func claimOfReplica(storeUUID, replica string) string { return "replica " + storeUUID + "/" + replica }
func claimOfGarbage(storeUUID string) string          { return "garbage " + storeUUID }
func claimOfRun(run ports.Run) string                 { return "run " + run.ID }
func claimOfImage(storeUUID, inFlight string) string  { return "image " + storeUUID + "/" + inFlight }

// claimOutside claims a name among all processes, where the host can tell
// them. Where it cannot, nothing is claimed and nothing is refused.
func (e *Engine) claimOutside(ctx context.Context, host ports.Host, name string) (release func(), err error) {
	claimer, ok := can[ports.Claimer](host)
	if !ok {
		return func() {}, nil
	}
	release, err = claimer.Claim(ctx, name)
	switch {
	case err == nil:
		return release, nil
	case errors.Is(err, ports.ErrBusy):
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("claim %s: %w", name, context.Cause(ctx))
	}
	e.log.Info("other processes cannot see this one's work", zap.String("name", name), zap.Error(err))
	return func() {}, nil
}

// Who collects garbage holds the claims of those that it finds nobody at work for,
// so that nobody begins meanwhile. It is over soon, so it is waited for: a rebuild
// that was refused for it would not be tried again.

// collectorAtWork is what is waited for then.
func collectorAtWork() string { return "the removal of what crashed runs have left on the lvstore" }

// claimHere claims a name among the runs of this process.
func (e *Engine) claimHere(ctx context.Context, storeUUID, name string) (release func(), ok bool, err error) {
	if release, ok = e.locks.tryAcquire(name); ok {
		return release, true, nil
	}
	collector, err := e.locks.acquire(ctx, claimOfGarbage(storeUUID), collectorAtWork)
	if err != nil {
		return nil, false, err
	}
	collector()
	release, ok = e.locks.tryAcquire(name)
	return release, ok, nil
}

// claimElsewhere claims a name among all processes.
func (e *Engine) claimElsewhere(ctx context.Context, host ports.Host, storeUUID, name string) (release func(), err error) {
	if release, err = e.claimOutside(ctx, host, name); !errors.Is(err, ports.ErrBusy) {
		return release, err
	}
	collector, err := e.claimCollection(ctx, host, storeUUID)
	if err != nil {
		return nil, err
	}
	collector()
	return e.claimOutside(ctx, host, name)
}

// collectingFor is how long somebody else's collection is waited for.
const collectingFor = 5 * time.Minute

// claimCollection claims the collection of a store's garbage, once nobody else is
// at it. Where it takes too long that is left out: the claims of what is found tell
// enough.
func (e *Engine) claimCollection(ctx context.Context, host ports.Host, storeUUID string) (release func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, collectingFor)
	defer cancel()
	err = patiently(waiting, func() error {
		release, err = e.claimOutside(waiting, host, claimOfGarbage(storeUUID))
		return err
	})
	if err != nil && ctx.Err() == nil {
		return func() {}, nil
	}
	return release, err
}

// claimBoth claims a name among the runs of this process and among all processes.
func (e *Engine) claimBoth(ctx context.Context, host ports.Host, name string) (release func(), err error) {
	inside, ok := e.locks.tryAcquire(name)
	if !ok {
		return nil, fmt.Errorf("claim %s: %w", name, ports.ErrBusy)
	}
	outside, err := e.claimOutside(ctx, host, name)
	if err != nil {
		inside()
		return nil, err
	}
	return func() { outside(); inside() }, nil
}

// claimImageRun keeps other imports and verifications of an image off: each begins
// with the release of what runs of the same name have opened.
func (e *Engine) claimImageRun(ctx context.Context, host ports.Host, store domain.Store, run ports.Run, image string) (release func(), err error) {
	whole, err := e.claimBoth(ctx, host, claimOfReplica(store.UUID, run.Replica))
	if errors.Is(err, ports.ErrBusy) {
		return nil, refusef("backing image %s on lvstore %s is being imported or verified already", image, store.Name)
	}
	if err != nil {
		return nil, err
	}
	one, err := e.claimBoth(ctx, host, claimOfRun(run))
	if err != nil {
		whole()
		return nil, err
	}
	return func() { one(); whole() }, nil
}
