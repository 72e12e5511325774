package ports

import "context"

// Counter is implemented by hosts where counting an lvol's own clusters is cheaper than
// a Look. It is called before each seal, for which each snapshot of a chain waits.
type Counter interface {
	// Count is the number of own clusters, as Look reports it. ErrNotFound if there is no
	// lvol of that UUID.
	Count(ctx context.Context, uuid string) (own uint64, err error)
}
