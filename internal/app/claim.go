package app

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What is claimed among processes.
func claimOfReplica(storeUUID, replica string) string { return "replica " + storeUUID + "/" + replica }
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
