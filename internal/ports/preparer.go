package ports

import "context"

// Preparer is implemented by hosts where a graft onto a parent of another size takes
// several steps, some of which do not need the lvol.
type Preparer interface {
	// PrepareGraft prepares one graft of an lvol of that size in bytes, which need not
	// exist yet, onto that parent. Graft works in any case, also if this failed or the
	// helpers are gone again; the parent does not change. Helpers are clones of the
	// parent with in-flight names of the run's replica. They are deleted when they are
	// used, or when the run is released after the call has returned.
	// ErrNotFound if there is no such parent, ErrInvalid if it is writable.
	PrepareGraft(ctx context.Context, run Run, size uint64, parent string) error
}
