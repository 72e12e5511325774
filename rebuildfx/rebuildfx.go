// Package rebuildfx wires the engine into programs that are built with fx. It
// is a package of its own so that others do not compile fx.
package rebuildfx

import (
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
)

// Module provides the one *rebuild.Engine of the program. It logs to the
// program's *zap.Logger, if one is provided.
var Module = fx.Module("rebuild", fx.Provide(newEngine))

type needs struct {
	fx.In
	Log *zap.Logger `optional:"true"`
}

func newEngine(n needs) *rebuild.Engine { return rebuild.New(n.Log) }
