package ports

import "context"

// Gauge is implemented by hosts where asking for the free space is cheaper than a List.
// It is called before each copy and during it, since others may fill the store, too.
type Gauge interface {
	// FreeClusters is the number of the store's free clusters, as List reports it.
	FreeClusters(ctx context.Context) (uint64, error)
}
