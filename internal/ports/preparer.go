package ports

import "context"

// Preparer is implemented by hosts where a graft onto a parent of another size takes
// several steps, of which some need no lvol.
type Preparer interface {
	// PrepareGraft does ahead what it can of one graft of an lvol of so many bytes, which
	// need not be there yet, onto that parent. Graft works in any case, also where this
	// has failed or what it has made is gone again; of the parent nothing changes. What
	// is made hangs on it under in-flight names of the run's replica, and is gone once
	// it was used, or the run was released after the call returned.
	// ErrNotFound where there is no such parent, ErrInvalid where it is writable.
	PrepareGraft(ctx context.Context, run Run, size uint64, parent string) error
}
