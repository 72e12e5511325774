package ports

import "context"

// Counter is implemented by hosts where counting an lvol's own clusters costs
// less than a Look. Before a seal that is all that is asked, and a long chain
// waits for it at each of its snapshots.
type Counter interface {
	// Count is the number of own clusters that Look would tell. ErrNotFound
	// where there is no lvol of that UUID.
	Count(ctx context.Context, uuid string) (own uint64, err error)
}
