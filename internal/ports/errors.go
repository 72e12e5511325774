package ports

import "errors"

// The kinds of errors that adapters return, wrapped around their own.
var (
	// ErrNotFound: no such lvol.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("already exists")
	// ErrBusy: the lvol takes part in another operation. Retry later.
	ErrBusy = errors.New("busy")
	// ErrNoSpace: the store is full.
	ErrNoSpace = errors.New("no space left")
	// ErrInvalid: the store never does this, such as deleting an lvol with clones or
	// copying from a writable lvol.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable: the host or the connection to it fails, or did not answer in
	// time; whether the call took effect is not known. Check before a retry.
	ErrUnavailable = errors.New("unavailable")
	// ErrGone goes with ErrUnavailable: the host has ended or hangs. To ask it again soon is of
	// no use.
	ErrGone = errors.New("the host has ended or hangs")
	// ErrUnsupported: this kind of host lacks the capability.
	ErrUnsupported = errors.New("unsupported")
	// ErrCorrupt: the data differs from what it must be.
	ErrCorrupt = errors.New("corrupt")
)

// Retryable reports whether the same call may succeed later.
func Retryable(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable)
}
