package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// verifyUnchanged ends a rebuild whose plan is empty. It closes what a crashed run has
// left open, and verifies.
func (r *rebuild) verifyUnchanged(ctx context.Context, seen observation, plan domain.Plan) error {
	r.logWarnings(plan)
	var unproven []domain.Violation
	err := r.retry(ctx, "verify", func() (err error) {
		seen, unproven, err = seen.proveAll(ctx, r.request, r.sources, plan.Base)
		return err
	})
	if err != nil {
		return err
	}
	r.warnUnproven(seen.proofWarnings)
	violations, err := seen.violations(plan.Base, true)
	if err != nil {
		return err
	}
	violations = append(violations, unproven...)
	x := r.executor(seen, plan, nil, nil)
	var others []domain.Violation
	if err = x.Open(ctx); err == nil {
		others, err = r.compareViews(ctx, seen, plan.Base)
	}
	if cleanup := x.CleanUp(ctx, err); err != nil || cleanup != nil {
		return errors.Join(err, cleanup)
	}
	return r.checkViolations(append(violations, others...))
}

// verifySnapshots verifies everything except the head. Views are compared here, too: a
// replica with a head counts as complete. Lvols that linked clones of other volumes still
// read through, and that the plan deletes later, may be left.
func (r *rebuild) verifySnapshots(ctx context.Context, x *executor.Executor, planned observation, plan domain.Plan) (observation, error) {
	image, request := plan.Base, r.request
	request.Proof = request.Proof || plan.Replaces() // before linked clones read the copies
	seen, violations, err := r.verify(ctx, request, planned, image)
	violations = seen.destination.WithoutLeft(violations, plan.DeletedLate())
	r.setReport(seen)
	if err != nil {
		return seen, err
	}
	r.warnUnproven(seen.proofWarnings)
	if !sameTree(planned.source, seen.source) {
		return seen, fmt.Errorf("%w: the source's snapshots have changed", executor.ErrPlanAgain)
	}
	if _, has, err := seen.destination.Store.EntryPoint(image); isClone(image) && err == nil && !has {
		return seen, fmt.Errorf("%w: the entry point of %s is gone", executor.ErrPlanAgain, image)
	}
	if leftInFlight(violations) {
		return seen, fmt.Errorf("%w: a call without an answer has left in-flight lvols", executor.ErrPlanAgain)
	}
	if err := r.checkViolations(violations); err != nil {
		return seen, err
	}
	if r.request.Views {
		if err := x.Closed(); err != nil {
			return seen, err
		}
	}
	if violations, err = r.compareViews(ctx, seen, image); err != nil {
		return seen, err
	}
	if err := r.checkViolations(violations); err != nil {
		return seen, err
	}
	r.progress.emit(EventVerified, "everything except the head is right")
	return seen, nil
}

// replace gives the verified copies to linked clones of other volumes, and verifies again
// that nothing else is left.
func (r *rebuild) replace(ctx context.Context, x *executor.Executor, verified observation, plan domain.Plan) (observation, error) {
	if err := x.Do(ctx, domain.StageReplace); err != nil {
		return verified, err
	}
	seen, violations, err := r.verify(ctx, r.request, verified, plan.Base)
	r.setReport(seen)
	switch {
	case err != nil:
		return seen, err
	case !sameTree(verified.source, seen.source):
		return seen, fmt.Errorf("%w: the source's snapshots have changed", executor.ErrPlanAgain)
	case leftInFlight(violations):
		return seen, fmt.Errorf("%w: a call without an answer has left in-flight lvols", executor.ErrPlanAgain)
	}
	return seen, r.checkViolations(violations)
}

// verifyHead verifies the head, and the whole replica with it.
func (r *rebuild) verifyHead(ctx context.Context, x *executor.Executor, seen observation, image domain.Base) error {
	err := r.retry(ctx, "check the head", func() (err error) {
		seen, err = r.observeHead(ctx, x, seen)
		return err
	})
	if err != nil {
		return err
	}
	r.setReport(seen)
	violations, err := seen.violations(image, true)
	if err != nil {
		return err
	}
	others, err := r.compareViews(ctx, seen, image)
	if err != nil {
		return err
	}
	return r.checkViolations(append(violations, others...))
}

func (r *rebuild) verify(ctx context.Context, by request, before observation, image domain.Base) (seen observation, violations []domain.Violation, err error) {
	err = r.retry(ctx, "verify", func() (err error) {
		seen, violations, err = r.engine.verify(ctx, by, r.sources, before, image)
		return err
	})
	return seen, violations, err
}

func (r *rebuild) checkViolations(violations []domain.Violation) error {
	r.report.Violations = violations
	if len(violations) == 0 {
		return nil
	}
	return fmt.Errorf("verify: %w: %d violations, the first: %s", ports.ErrCorrupt, len(violations), violations[0])
}

// warnUnproven adds the warnings of a proof to the report.
func (r *rebuild) warnUnproven(doubts []string) {
	r.report.Warnings = slices.Concat(r.report.Warnings, doubts)
	for _, doubt := range doubts {
		r.engine.log.Warn(doubt, zap.String("replica", r.request.Destination.Replica))
	}
}

// sameTree reports whether a replica still has the same snapshots. A user may take and
// delete some while it is a source.
func sameTree(was, is domain.Replica) bool {
	return slices.EqualFunc(was.Snapshots, is.Snapshots, func(a, b domain.Snapshot) bool {
		return a.Name == b.Name && a.Lvol.UUID == b.Lvol.UUID && a.Lvol.Parent == b.Lvol.Parent && a.Lvol.Own.Count == b.Lvol.Own.Count
	})
}

func isClone(base domain.Base) bool {
	_, _, is := base.Clone()
	return is
}

// leftInFlight reports whether in-flight lvols are all that is wrong. The next plan
// removes them.
func leftInFlight(violations []domain.Violation) bool {
	other := func(v domain.Violation) bool { return v.Rule != domain.RuleInFlight }
	return len(violations) > 0 && !slices.ContainsFunc(violations, other)
}

// verify lists again and compares everything except the head, which is created after this.
func (e *Engine) verify(ctx context.Context, r request, from *sources, s observation, image domain.Base) (observation, []domain.Violation, error) {
	s, err := s.observeAgain(ctx, r, from)
	if err != nil {
		return observation{}, nil, err
	}
	s, unproven, err := s.proveAll(ctx, r, from, image)
	if err != nil {
		return s, nil, err
	}
	violations, err := s.violations(image, false)
	return s, append(violations, unproven...), err
}

func (s observation) violations(image domain.Base, withHead bool) ([]domain.Violation, error) {
	if withHead {
		return domain.Verify(s.source, s.destination, image)
	}
	return domain.VerifySnapshots(s.source, s.destination, image)
}

// observeHead adds the current head to an observation.
func (r *rebuild) observeHead(ctx context.Context, x *executor.Executor, s observation) (observation, error) {
	head, ok, err := x.Head(ctx)
	if err != nil || !ok {
		return s, err
	}
	store := s.destination.Store
	store.Lvols = append(slices.DeleteFunc(slices.Clone(store.Lvols), func(l domain.Lvol) bool { return l.UUID == head.UUID }), head)
	s.destination, err = r.request.Destination.destination(store, s.source)
	return s, err
}
