package ports

import "errors"

// The kinds of errors that adapters return, wrapped around their own.
var (
	// ErrNotFound: no such lvol.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("already exists")
	// ErrBusy: the lvol takes part in another operation now. Worth a retry.
	ErrBusy = errors.New("busy")
	// ErrNoSpace: the store is full.
	ErrNoSpace = errors.New("no space left")
	// ErrInvalid: the store will never do this, such as deleting what has
	// clones or copying from a writable lvol.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable: the host or the way to it does not work now, or did not
	// answer in time; whether the call took effect is not known. Worth a retry
	// after a look.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnsupported: this kind of host has no such thing.
	ErrUnsupported = errors.New("unsupported")
	// ErrCorrupt: data is not what it has to be.
	ErrCorrupt = errors.New("corrupt")
)

// Retryable reports whether the same call may succeed a little later.
func Retryable(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable)
}
