package app

import (
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
)

// ErrRefused is what errors are by which nothing was changed: the request
// cannot be carried out safely.
var ErrRefused = errors.New("refused")

// refusal is an ErrRefused that says nothing but its reason.
type refusal struct{ reason error }

func (r *refusal) Error() string        { return r.reason.Error() }
func (r *refusal) Unwrap() error        { return r.reason }
func (r *refusal) Is(target error) bool { return target == ErrRefused }

func refusef(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...)}
}

func (r request) check() error {
	switch {
	case r.Source.Host == nil:
		return refusef("no source host")
	case r.Destination.Host == nil:
		return refusef("no destination host")
	case r.Parallel < 0:
		return refusef("%d copies at once: expected at least 1", r.Parallel)
	case r.Proof && r.Options.NoChecksums:
		return refusef("maps and checksums cannot be compared at the end where no checksums are computed")
	}
	if err := r.checkSources(); err != nil {
		return err
	}
	if err := domain.CheckReplicaName(r.Destination.Replica); err != nil {
		return &refusal{err}
	}
	return r.checkBandwidth()
}

// refused marks what the domain refuses.
func refused(err error) error {
	if reason := (*domain.Refusal)(nil); errors.As(err, &reason) {
		return &refusal{err}
	}
	return err
}
