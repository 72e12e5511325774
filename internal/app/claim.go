package app

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/ports"
)

// What is claimed among processes.
func claimOfReplica(storeUUID, replica string) string { return "replica " + storeUUID + "/" + replica }
func claimOfRun(run ports.Run) string                 { return "run " + run.ID }
func claimOfImage(storeUUID, inFlight string) string  { return "image " + storeUUID + "/" + inFlight }

// claimOutside claims a name among all processes, where the host can tell
// them. Where it cannot, nothing is claimed and nothing is refused.
func (e *Engine) claimOutside(ctx context.Context, host ports.Host, name string) (release func(), err error) {
	claimer, ok := host.(ports.Claimer)
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
