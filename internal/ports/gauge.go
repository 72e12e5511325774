package ports

import "context"

// Gauge is implemented by hosts where asking how much is free costs less than a List.
// It is asked before each copy, and while one goes on: others may fill the store, too.
type Gauge interface {
	// FreeClusters are the store's free clusters, as List would tell.
	FreeClusters(ctx context.Context) (uint64, error)
}
