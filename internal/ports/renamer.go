package ports

import "context"

// Renamer is implemented by hosts that can rename lvols. A rebuild renames only
// snapshots that linked clones read through, and only if the store renames snapshots
// (domain.Listing.RenamesSnapshots).
type Renamer interface {
	// Rename gives the lvol another name. It may be writable or a snapshot, have clones
	// and be in use; nothing else of it changes. When Rename has returned, the name
	// outlasts a crash of the host, and the old one is free. No error if the lvol has
	// that name already.
	// ErrNotFound if there is no such lvol, ErrExists if the name is taken, ErrInvalid if
	// it is too long, ErrUnsupported if the lvol is a snapshot and this host renames
	// writable lvols only. After these errors nothing was changed.
	Rename(ctx context.Context, uuid, name string) error
}
