package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Source is a replica that copies come from.
type Source struct {
	Host    ports.Host
	Listing domain.Listing  // of its host
	Used    context.Context // ends when the source is lost; its cause is the reason
	Lose    func(why error) // ends Used
}

// Lost is the reason why a source is lost; nil: it is in use.
func (s *Source) Lost() error { return context.Cause(s.Used) }

// used are the positions of the sources in use.
func used(sources []*Source) (positions []int) {
	for at, s := range sources {
		if s.Lost() == nil {
			positions = append(positions, at)
		}
	}
	return positions
}

// Candidate is an lvol that a source can serve, known by its UUID there.
type Candidate struct {
	Source int
	Origin domain.Origin
}

// SourceError is an error of a source's host.
type SourceError struct {
	Source int
	Err    error
}

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// OfSource marks an error as a source's; nil stays nil.
func OfSource(source int, err error) error {
	if err == nil {
		return nil
	}
	return &SourceError{source, err}
}

// errNotUsed is the error of a call to a source that another operation has lost.
var errNotUsed = errors.New("the source is no longer used")

// several is false if the failure of a source is the failure of the run.
func (x *Executor) several() bool { return len(x.Sources) > 1 }

// candidates are the lvols equal to a snapshot of the primary on sources in use, in the
// order of the sources.
func (x *Executor) candidates(planned domain.Origin) []Candidate {
	all := append([]Candidate{{x.Primary, planned}}, x.Secondary[planned.UUID]...)
	all = slices.DeleteFunc(all, func(c Candidate) bool { return x.Sources[c.Source].Lost() != nil })
	slices.SortFunc(all, func(a, b Candidate) int { return a.Source - b.Source })
	return all
}

// pickSource chooses the candidate of the source with the least load. A retry keeps its
// source. Until end is called, the copy counts as load of its source, as far as setLeft
// says. The load counts from the choice on: otherwise copies that begin at the same time
// would choose the same source.
func (x *Executor) pickSource(copy domain.Operation) (chosen Candidate, setLeft func(clusters uint64), end func(), err error) {
	open := x.candidates(copy.Source)
	c := x.copies
	c.mu.Lock()
	defer c.mu.Unlock()
	chosen, picked := c.serving[copy.Target]
	if !picked {
		if len(open) == 0 {
			return Candidate{}, nil, nil, fmt.Errorf("%w: no source is left that has %s", ErrPlanAgain, copy.Source.Name)
		}
		chosen = slices.MinFunc(open, func(a, b Candidate) int {
			return cmp.Or(cmp.Compare(c.load[a.Source], c.load[b.Source]), a.Source-b.Source)
		})
		c.serving[copy.Target] = chosen
	}
	counted := chosen.Origin.Clusters
	c.load[chosen.Source] += counted
	setLeft = func(clusters uint64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.load[chosen.Source] += clusters - counted
		counted = clusters
	}
	return chosen, setLeft, func() { setLeft(0) }, nil
}

// switchSource replaces the source that failed in an operation, if another one has the
// same data. The operation is then repeated, a copy in a new lvol: a target may still copy
// into the old one.
func (x *Executor) switchSource(ctx context.Context, s *step, failure error) (again bool, err error) {
	var of *SourceError
	if ctx.Err() != nil || errors.Is(failure, ErrPlanAgain) || !errors.As(failure, &of) {
		return false, failure
	}
	planned := s.Source
	if planned.UUID == "" { // a graft
		planned = x.refs.copies.Get(s.Target).planned
	}
	if planned == (domain.Origin{}) { // an operation on a member of a volume: no other can do it
		return false, failure
	}
	if !slices.ContainsFunc(x.candidates(planned), func(other Candidate) bool { return other.Source != of.Source }) {
		return false, failure
	}
	if !errors.Is(failure, errNotUsed) {
		x.Sources[of.Source].Lose(failure)
	}
	if s.Verb != domain.VerbCopy {
		return true, nil
	}
	x.Log.Info("another source takes over", zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID), zap.String("of", planned.Name))
	if err := x.replaceCopy(ctx, s); err != nil {
		return false, fmt.Errorf("%w (after a source had failed: %w)", err, failure)
	}
	return true, nil
}

// replaceCopy replaces the lvol of a copy. The old copy may still go on; without its
// destination it ends.
func (x *Executor) replaceCopy(ctx context.Context, s *step) error {
	old := x.refs.uuid(s.Target)
	if err := x.retry(ctx, "stop receiving", func() error { return x.Host.Withdraw(ctx, x.Run.Run, old) }); err != nil {
		return fmt.Errorf("stop receiving: %w", err)
	}
	x.copies.received.Take(old)
	if err := x.retry(ctx, "discard a copy", func() error { return x.Host.Delete(ctx, old) }); err != nil && !errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("discard the copy: %w", err)
	}
	x.copies.forgetSource(s.Target) // nothing is copied from there any more
	name, _ := x.refs.names.Take(s.Target)
	defer x.leases.release(name)
	at := slices.IndexFunc(x.Plan.Operations, func(o domain.Operation) bool { return o.Verb == domain.VerbCreate && o.Target == s.Target })
	creation := &step{Step: Step{at, x.Plan.Operations[at], s.Subject, -1}}
	return retry.Step.Do(ctx, nil, func(previous error) error {
		if previous != nil {
			if done, err := x.reconcile(ctx, creation); done || err != nil {
				return err
			}
		}
		return x.create(ctx, creation)
	})
}

// retry repeats do after temporary failures.
func (x *Executor) retry(ctx context.Context, what string, do func() error) error {
	return Retry(ctx, x.Log, x.Run, what, do)
}

// Retry repeats do after temporary failures. It is for calls that are no operations of a
// plan.
func Retry(ctx context.Context, log *zap.Logger, run *Run, what string, do func() error) error {
	again := func(err error) {
		log.Info("retry after a failure", zap.String("replica", run.Replica), zap.String("run", run.ID), zap.String("step", what), zap.Error(err))
	}
	return retry.Step.Do(ctx, again, func(error) error { return do() })
}

// attribute marks the failure of a copy as the source's, if the destination still answers.
func (x *Executor) attribute(ctx context.Context, from Candidate, uuid string, failure error) error {
	if failure == nil || ctx.Err() != nil || isFull(failure) || !x.several() {
		return failure
	}
	if x.Sources[from.Source].Lost() != nil {
		return OfSource(from.Source, errNotUsed)
	}
	if errors.Is(failure, ports.ErrUnavailable) {
		if _, err := x.Host.Look(ctx, uuid); errors.Is(err, ports.ErrUnavailable) {
			return failure
		}
	}
	return OfSource(from.Source, failure)
}

// sourcesToCompare are the sources to ask before a seal whether the snapshot is unchanged:
// the one that served the copy, and the primary. If both are lost, any other source with
// the same data serves: checkAfterCopy has checked that the copy is complete.
func (x *Executor) sourcesToCompare(made copyOfSource) (asked []Candidate, err error) {
	if made.planned == (domain.Origin{}) {
		return nil, nil // an entry point
	}
	open := x.candidates(made.planned)
	for _, c := range open {
		if c.Source == made.served.Source || c.Source == x.Primary {
			asked = append(asked, c)
		}
	}
	if len(asked) == 0 && len(open) > 0 {
		asked = open[:1]
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("%w: no source is left to compare the copy with", ErrPlanAgain)
	}
	return asked, nil
}

// count counts the own clusters of a source's snapshot, which may be gone.
func (x *Executor) count(ctx context.Context, c Candidate) (uint64, error) {
	own, err := countOwn(ctx, x.Sources[c.Source].Host, c.Origin.UUID)
	if errors.Is(err, ports.ErrNotFound) && c.Source == x.Primary {
		return 0, fmt.Errorf("%w: the source's snapshot is gone", ErrPlanAgain)
	}
	return own, OfSource(c.Source, err)
}

// changed is the error if a source's snapshot has another number of clusters than before.
// If it is the primary's, a new plan is needed; another source has lost its proof.
func (x *Executor) changed(c Candidate, now uint64, when string) error {
	if now == c.Origin.Clusters {
		return nil
	}
	err := fmt.Errorf("the source's snapshot has %d clusters of its own now, %d when %s", now, c.Origin.Clusters, when)
	if c.Source != x.Primary {
		return OfSource(c.Source, err)
	}
	return fmt.Errorf("%w: %w", ErrPlanAgain, err)
}

func countOwn(ctx context.Context, host ports.Host, uuid string) (uint64, error) {
	if counter, ok := ports.As[ports.Counter](host); ok {
		return counter.Count(ctx, uuid)
	}
	l, err := host.Look(ctx, uuid)
	return l.Own.Count, err
}
