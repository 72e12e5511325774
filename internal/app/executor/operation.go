package executor

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
)

// step is an operation that a worker carries out.
type step struct {
	Step

	// unlockNext lets go on what comes after it, which may be before its end.
	unlockNext func()
}

// verb is how an operation is carried out.
type verb struct {
	perform func(x *Executor, ctx context.Context, s *step) error

	// reconcile finds out whether a call took effect whose answer was lost; nil: it can
	// simply be made again.
	reconcile func(x *Executor, ctx context.Context, s *step) (done bool, err error)
}

// verbs are all that the plan may have.
var verbs = map[domain.Verb]verb{
	domain.VerbCreate: {(*Executor).create, (*Executor).reconcileCreate},
	domain.VerbCopy:   {(*Executor).copy, nil},
	domain.VerbGraft:  {(*Executor).graft, nil},
	domain.VerbSeal:   {(*Executor).seal, (*Executor).reconcileSeal},
	domain.VerbClone:  {(*Executor).clone, (*Executor).reconcileClone},
	domain.VerbDelete: {(*Executor).delete, (*Executor).reconcileDelete},
	domain.VerbRecord: {(*Executor).record, nil},
}

// carryOut does one operation, and tells the sink.
func (x *Executor) carryOut(ctx context.Context, s *step) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x.Sink.Began(s.Step)
	if err := x.performWithRetries(ctx, s); err != nil {
		return fmt.Errorf("%s %s: %w", s.Verb, x.describe(s), err)
	}
	x.Sink.Ended(s.Step)
	x.Log.Debug(string(s.Verb), zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID), zap.String("of", x.describe(s)))
	return nil
}

// performWithRetries does an operation, again if need be, and by another source where the one that
// serves it fails. A call whose answer was lost may have taken effect: before the next
// attempt the store is looked at.
func (x *Executor) performWithRetries(ctx context.Context, s *step) error {
	perform, known := verbs[s.Verb]
	if !known {
		return fmt.Errorf("the plan has a verb that nobody knows: %q", s.Verb)
	}
	again := func(err error) {
		x.Log.Info("again after a failure", zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID),
			zap.String("verb", string(s.Verb)), zap.String("of", x.describe(s)), zap.Error(err))
		x.Sink.Retrying(s.Step, err)
	}
	unknown := false
	for {
		failure := retry.Step.Do(ctx, again, func(previous error) error {
			unknown = unknown || previous != nil && !retry.IsBusy(previous)
			if unknown {
				if done, err := x.reconcile(ctx, s); done || err != nil {
					return err
				}
			}
			return perform.perform(x, ctx, s)
		})
		if failure == nil {
			return nil
		}
		if another, err := x.switchSource(ctx, s, failure); !another {
			return err
		}
		unknown = true
	}
}

// describe says what an operation is about.
func (x *Executor) describe(s *step) string {
	switch store := x.Listing.Name; {
	case s.Target.IsImage():
		return fmt.Sprintf("%s on lvstore %s", x.Plan.Image, store)
	case s.Operation.Name != "":
		return fmt.Sprintf("lvol %s on lvstore %s", s.Operation.Name, store)
	default:
		return fmt.Sprintf("snapshot %s to lvstore %s", s.Subject, store)
	}
}
