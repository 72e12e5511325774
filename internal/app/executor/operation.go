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

	// unlockNext starts the operations that depend on this one, perhaps before its end.
	unlockNext func()
}

// verb says how operations are carried out.
type verb struct {
	perform func(x *Executor, ctx context.Context, s *step) error

	// reconcile finds out whether a call without an answer took effect; nil: it can simply
	// be repeated.
	reconcile func(x *Executor, ctx context.Context, s *step) (done bool, err error)
}

// verbs has all verbs of plans.
var verbs = map[domain.Verb]verb{
	domain.VerbCreate: {(*Executor).create, (*Executor).reconcileCreate},
	domain.VerbCopy:   {(*Executor).copy, nil},
	domain.VerbGraft:  {(*Executor).graft, nil},
	domain.VerbSeal:   {(*Executor).seal, (*Executor).reconcileSeal},
	domain.VerbClone:  {(*Executor).clone, (*Executor).reconcileClone},
	domain.VerbDelete: {(*Executor).delete, (*Executor).reconcileDelete},
	domain.VerbRename: {(*Executor).rename, nil},
	domain.VerbRecord: {(*Executor).record, nil},

	domain.VerbSnapshot:      {(*Executor).snapshot, nil},
	domain.VerbExport:        {(*Executor).export, nil},
	domain.VerbGraftExternal: {(*Executor).graftExternal, nil},
	domain.VerbJoin:          {(*Executor).join, nil},
	domain.VerbLeave:         {(*Executor).leave, nil},
}

// carryOut carries out one operation and reports it.
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

// performWithRetries retries an operation after temporary failures, with another source if
// its source fails. A call without an answer may have taken effect, so the store is
// checked before the next attempt.
func (x *Executor) performWithRetries(ctx context.Context, s *step) error {
	perform, known := verbs[s.Verb]
	if !known {
		return fmt.Errorf("unknown verb in the plan: %q", s.Verb)
	}
	again := func(err error) {
		x.Log.Info("retry after a failure", zap.String("replica", x.Run.Replica), zap.String("run", x.Run.ID),
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

// describe names the target of an operation.
func (x *Executor) describe(s *step) string {
	store := x.Listing.Name
	if s.Member > 0 {
		store = x.Live.Lvstore(s.Member)
	}
	switch {
	case s.Target.IsImage():
		return fmt.Sprintf("%s on lvstore %s", x.Plan.Base, store)
	case s.Target.IsLive():
		return fmt.Sprintf("the live head of replica %s on lvstore %s", x.Run.Replica, store)
	case s.Operation.Name != "":
		return fmt.Sprintf("lvol %s on lvstore %s", s.Operation.Name, store)
	case s.Member > 0:
		return fmt.Sprintf("snapshot %s on lvstore %s", s.Subject, store)
	default:
		return fmt.Sprintf("snapshot %s to lvstore %s", s.Subject, store)
	}
}
