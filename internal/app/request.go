package app

import (
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// ErrRefused marks errors that guarantee that nothing was changed: the request is not
// safe, or not possible.
var ErrRefused = errors.New("refused")

// refusal is an ErrRefused whose text is its reason alone.
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
		return refusef("maps and checksums cannot be compared at the end without computing checksums")
	}
	if err := r.checkSources(); err != nil {
		return err
	}
	if err := domain.CheckReplicaName(r.Destination.Replica); err != nil {
		return &refusal{err}
	}
	if err := r.Destination.checkChangeable(); err != nil {
		return err
	}
	return r.checkBandwidth()
}

// checkChangeable refuses a host that can only be a source.
func (s site) checkChangeable() error {
	if _, ok := ports.As[ports.Store](s.Host); !ok {
		return refusef("the host of replica %s can only be a source of rebuilds", s.Replica)
	}
	return nil
}

// checkFreezable refuses a source that needs a snapshot of its head if its host cannot
// take one.
func (s site) checkFreezable(source domain.Replica) error {
	if source.Head == nil || source.Head.Own.Count == 0 {
		return nil
	}
	if _, ok := ports.As[ports.Snapshotter](s.Host); ok {
		return nil
	}
	return refusef("the head of replica %s on lvstore %s has %d clusters of its own, and its host cannot take the system snapshot that a rebuild needs: take a snapshot of the replica there first",
		source.Name, source.Store.Name, source.Head.Own.Count)
}

// refused turns refusals of the domain into ErrRefused.
func refused(err error) error {
	if reason := (*domain.Refusal)(nil); errors.As(err, &reason) {
		return &refusal{err}
	}
	return err
}
