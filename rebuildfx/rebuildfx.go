// Package rebuildfx provides the engine to programs that are built with fx. It is a
// package of its own, so that other programs do not compile fx.
package rebuildfx

import (
	"log/slog"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
)

// Module provides the program's one *rebuild.Engine. The engine logs to the
// *zap.Logger or, if there is none, to the *slog.Logger that the program provides.
// Without either it logs nothing.
var Module = fx.Module("rebuild", fx.Provide(newEngine))

type loggers struct {
	fx.In

	Zap  *zap.Logger  `optional:"true"`
	Slog *slog.Logger `optional:"true"`
}

func newEngine(log loggers) *rebuild.Engine {
	if log.Zap == nil {
		return rebuild.New(rebuild.WithSlog(log.Slog))
	}
	return rebuild.New(rebuild.WithLogger(log.Zap))
}
