package app

import (
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
)

// ErrRefused marks errors that guarantee that nothing was changed: the request is not
// safe, or not possible.
var ErrRefused = errors.New("refused")

// refusal is an ErrRefused whose text is its reason alone.
type refusal struct{ reason error }

func (r *refusal) Error() string { return r.reason.Error() }
func (r *refusal) Unwrap() error { return r.reason }

func (r *refusal) Is(target error) bool { return target == ErrRefused }

// refusedLate hides that an error is an ErrRefused: what it refuses was found after
// something had been changed. Its text and its causes are still there.
type refusedLate struct{ err error }

func (e *refusedLate) Error() string { return e.err.Error() }

// As finds the causes, but for what makes it an ErrRefused.
func (e *refusedLate) As(target any) bool {
	if _, is := target.(**refusal); is {
		return false
	}
	return errors.As(e.err, target)
}

// Is is errors.Is for every other target.
func (e *refusedLate) Is(target error) bool {
	return target != ErrRefused && errors.Is(e.err, target)
}

func refusef(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...)}
}

// refused turns refusals of the domain into ErrRefused.
func refused(err error) error {
	if reason := (*domain.Refusal)(nil); errors.As(err, &reason) {
		return &refusal{err}
	}
	return err
}
