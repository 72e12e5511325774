package rebuild

import (
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app"
)

//go:generate go run ./internal/apigen

// New makes an engine. A process has one, so that its rebuilds know of each
// other. A nil logger is silent.
func New(log *zap.Logger) *Engine { return app.New(log) }

// ObserverFunc makes a function an Observer.
type ObserverFunc func(Event)

// Observe calls the function.
func (f ObserverFunc) Observe(e Event) { f(e) }
