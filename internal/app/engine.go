package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Engine implements the use cases. Package rebuild documents its methods for embedders.
type Engine struct {
	log    *zap.Logger
	locks  locks
	leases ports.Leases
	space  spaceLedger
	uses   uses
}

// New makes an engine. A nil logger logs nothing.
func New(log *zap.Logger) *Engine {
	if log == nil {
		log = zap.NewNop()
	}
	return &Engine{log: log}
}

// OnWaiting returns a context whose operations report long waits to tell: waits for
// something busy, or for another run of this process, after 2 seconds and then every 30
// seconds. The text says what is waited for and since when. A rebuild with an Observer
// sends EventWaiting instead. tell must return soon; several goroutines may call it at
// once.
func OnWaiting(ctx context.Context, tell func(text string)) context.Context {
	return retry.OnWaiting(ctx, tell)
}
