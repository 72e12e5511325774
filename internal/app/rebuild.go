package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A new plan is made after a system snapshot, or if an image appeared or a snapshot was
// deleted meanwhile. After this many plans, something else keeps changing the store.
const maxPlans = 8

// Rebuild makes the destination a copy of the source. If ctx ends, the error wraps
// ctx.Err() and its cause; after EndRebuilds it wraps ErrEnded.
func (e *Engine) Rebuild(ctx context.Context, asked Request) (Report, error) {
	if asked.online != nil {
		online := *asked.online
		online.Request, online.online = asked, nil
		return e.RebuildOnline(ctx, online)
	}
	return e.rebuild(ctx, asked, nil)
}

func (e *Engine) rebuild(ctx context.Context, asked Request, live *liveRun) (Report, error) {
	began := time.Now()
	use := asked.use
	if use == nil {
		use = e.uses.add(ctx, asked)
		defer e.uses.remove(use)
		ctx = use.ctx
	}
	request := asked.guarded()
	request.live = live
	progress := newProgress(request.Observer)
	r := &rebuild{
		engine: e, request: request, use: use, sources: newSources(request), progress: progress, primary: -1,
		run: executor.NewRun(ports.Run{Replica: request.Destination.Replica, ID: executor.NewID()}),
	}
	live.begin(r)
	err := r.runPlans(r.withWaitEvents(ctx))
	live.reportLeft(ctx, err)
	r.reportSources()
	r.report.CopiedBytes = progress.copied()
	r.report.Duration = time.Since(began)
	r.report.Outcome, err = ended("rebuild replica "+request.Destination.Replica, err, r.use.changed)
	pausedAfter := r.failed && errors.Is(context.Cause(ctx), errPaused) // a pause during the cleanup is no reason
	if r.report.Outcome == OutcomeFailed && !pausedAfter {
		err = withCause(ctx, err)
	}
	e.log.Info("rebuild", zap.String("replica", r.run.Replica), zap.String("run", r.run.ID), zap.String("outcome", string(r.report.Outcome)),
		zap.Uint64("copiedBytes", r.report.CopiedBytes), zap.Duration("duration", r.report.Duration), zap.Error(err))
	r.journalEnd(ctx, err)
	return r.report, err
}

// withWaitEvents sends the observer an event for each long wait.
func (r *rebuild) withWaitEvents(ctx context.Context) context.Context {
	if r.request.Observer == nil {
		return ctx
	}
	return retry.OnWaiting(ctx, func(text string) { r.progress.emit(EventWaiting, text) })
}

// withCause adds ctx.Err() and the cause to an error after the end of ctx. Callers ask for
// either, and hosts return whichever they noticed.
func withCause(ctx context.Context, err error) error {
	for _, ended := range []error{context.Cause(ctx), ctx.Err()} {
		if ended != nil && !errors.Is(err, ended) {
			err = fmt.Errorf("%w: %w", err, ended)
		}
	}
	return err
}

// rebuild is one run of a request.
type rebuild struct {
	engine         *Engine
	request        request
	use            *use
	run            *executor.Run
	holder         string // the text of its leases
	held           releases
	images         map[string]bool // by UUID of the store: its image is leased
	leasedClone    domain.PlacedClone
	progress       *progress
	report         Report
	failed         bool  // no other plan can help, and its context had not ended then
	journaled      bool  // the journal has its beginning
	cleanupErr     error // of the last attempt
	space          heldSpace
	freezeWarnings []string // of the system snapshots, or of those of the live volume's members

	sources           *sources
	passedOver        []error  // by position, as last observed
	primary           int      // of the last plan; -1: none
	secondaryWarnings []string // of the last plan
}

func (r *rebuild) runPlans(ctx context.Context) error {
	if err := r.request.check(); err != nil {
		return err
	}
	r.loseGoneSources()
	unwatch := r.watchSources()
	defer unwatch()
	if err := r.request.live.tidy(ctx); err != nil {
		return err
	}
	if err := r.request.live.checkFreezer(ctx); err != nil {
		return err
	}
	release, err := r.takeLeases(ctx)
	if err != nil {
		return err
	}
	defer release()
	defer func() { r.engine.space.release(r.space.reservation) }()
	if r.request.live != nil {
		return r.runLivePlans(ctx)
	}
	return r.repeatPlans(ctx)
}

// repeatPlans carries out one plan after the other until none is left to do.
func (r *rebuild) repeatPlans(ctx context.Context) error {
	for plans, most := 1, maxPlans+len(r.request.MoreSources); ; plans++ {
		err := r.dropSource(ctx, r.planAndCarryOut(ctx))
		if !errors.Is(err, executor.ErrPlanAgain) || plans == most || ctx.Err() != nil {
			return r.finishCleanup(ctx, err)
		}
		r.progress.emit(EventAgain, err.Error())
	}
}

// finishCleanup repeats a cleanup that failed in an earlier attempt. The next plan removes
// in-flight lvols of the replica, but not in-flight images: they may be another run's.
func (r *rebuild) finishCleanup(ctx context.Context, err error) error {
	switch {
	case r.cleanupErr == nil || errors.Is(err, ErrCleanUp):
		return err
	case err != nil:
		return errors.Join(err, r.cleanupErr)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	err = retry.Step.Call(ctx, func() error {
		return executor.DeleteAll(ctx, r.request.Destination.Host, func(l domain.Lvol) bool { return r.run.Drew(l.Name) })
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCleanUp, err)
	}
	return nil
}

// observe lists all hosts. A source that does not answer is retried for a while, even if
// there are others, and then lost.
func (r *rebuild) observe(ctx context.Context) (s observation, err error) {
	var seen bool
	err = r.retry(ctx, "list the hosts", func() (err error) {
		before := r.engine.space.filled()
		var volume domain.Volume
		var unseen error
		_ = executor.AtOnce(r.request.parallel(),
			func() error { s, err = observeHosts(ctx, r.request, r.sources); return nil },
			func() error { volume, unseen = r.request.live.look(ctx); return nil },
		) // both errors count
		if ctx.Err() != nil {
			seen = false
			return err
		}
		passes := r.loseSilent(s.unanswered)
		if err != nil {
			seen = false
			if none := (*noUsableSource)(nil); errors.As(err, &none) && passes != nil {
				none.causes = []error{passes} // the others are not asked again
			}
			return err
		}
		if err = unseen; err == nil {
			s, err = r.request.live.see(s, volume)
		}
		if err != nil {
			seen = false
			return err
		}
		s.filledBefore = before
		seen = true
		return passes
	})
	if none := (*noUsableSource)(nil); errors.As(err, &none) {
		r.passedOver = none.flaws
	}
	if !seen || ctx.Err() != nil {
		return s, err
	}
	for at, why := range s.unanswered {
		if why != nil {
			r.lose(at, why)
		}
	}
	return s, r.request.live.awaitLoss(ctx)
}

// loseSilent stops using the sources that failed for good, and returns a failure of
// another one that may pass.
func (r *rebuild) loseSilent(unanswered []error) (passes error) {
	for at, why := range unanswered {
		switch {
		case why == nil:
		case retry.IsBusy(why) || retry.IsTransient(why):
			passes = why
		case r.sources.several():
			r.lose(at, why)
		}
	}
	return passes
}

// planAndCarryOut makes one plan and carries it out. executor.ErrPlanAgain asks for
// another one.
func (r *rebuild) planAndCarryOut(ctx context.Context) error {
	r.report.SourceViews, r.report.DestinationViews = nil, nil
	seen, plan, err := r.plan(ctx)
	if err != nil {
		return err
	}
	unlockImage := func() {}
	if name, ok := plan.Base.Image(); ok && plan.FetchesImage() && plan.SystemSnapshot == nil {
		// Several volumes share an image: one rebuild fetches it, the others wait for
		// that and plan again.
		forWhat := func() string {
			return fmt.Sprintf("another rebuild, which fetches backing image %s to lvstore %s", name, seen.destination.Store.Name)
		}
		if unlockImage, err = r.engine.locks.acquire(ctx, "image "+seen.destination.Store.UUID+"/"+name, forWhat); err != nil {
			return err
		}
		seen, plan, err = r.plan(ctx)
		if err != nil || plan.SystemSnapshot != nil || !plan.FetchesImage() {
			unlockImage()
			unlockImage = func() {}
		}
		if err != nil {
			return err
		}
	}
	switch {
	case r.request.live != nil:
		return r.carryOutLive(ctx, seen, plan)
	case plan.SystemSnapshot != nil:
		return r.freezeHead(ctx, seen, *plan.SystemSnapshot)
	case len(plan.Operations) == 0:
		return r.verifyUnchanged(ctx, seen, plan)
	}
	return r.carryOut(ctx, seen, plan, unlockImage)
}

func (r *rebuild) plan(ctx context.Context) (observation, domain.Plan, error) {
	request := r.request
	request.Options.ThisRun = r.run.Sealings()
	observed, err := r.observe(ctx)
	if err != nil {
		return observed, domain.Plan{}, err
	}
	seen, plan := observed, domain.Plan{}
	err = r.retry(ctx, "plan", func() (err error) {
		seen, plan, err = r.engine.plan(ctx, request, r.sources, observed, &r.space)
		return err
	})
	r.setReport(seen)
	if err != nil {
		if len(plan.Warnings) > 0 {
			r.report.Warnings = plan.Warnings // of the refused plan
		}
		return seen, plan, r.request.live.planAgain(err)
	}
	r.primary, r.secondaryWarnings = seen.primary, nil
	r.report.Plan, r.report.Warnings = plan, slices.Clone(plan.Warnings)
	for _, warning := range r.freezeWarnings {
		if !slices.Contains(plan.Warnings, warning) {
			r.report.Warnings = append(r.report.Warnings, warning)
		}
	}
	r.report.Notices = plan.Notices
	r.progress.planned(plan, seen.source.Store.ClusterSize)
	return seen, plan, r.leaseBase(ctx, seen, plan)
}

// addWarnings keeps warnings that later plans lack. It reports whether one is new.
func (r *rebuild) addWarnings(warnings ...string) (added bool) {
	for _, warning := range warnings {
		if !slices.Contains(r.freezeWarnings, warning) {
			r.freezeWarnings, added = append(r.freezeWarnings, warning), true
		}
	}
	return added
}

// logWarnings logs the warnings of a plan that is carried out. Warnings of a plan that is
// replaced may no longer hold.
func (r *rebuild) logWarnings(plan domain.Plan) {
	for _, warning := range plan.Warnings {
		r.engine.log.Warn(warning, zap.String("replica", r.request.Destination.Replica))
	}
}

func (r *rebuild) setReport(s observation) {
	if s.source.Store.UUID != "" {
		r.report.Source, r.report.Destination = s.source, s.destination
		r.passedOver = s.passedOver
	}
}

// beginChanges precedes the first change.
func (r *rebuild) beginChanges(ctx context.Context) {
	r.use.changed = true
	if !r.journaled {
		r.journaled = true
		r.journalBegin(ctx)
	}
}

// freezeHead takes the system snapshot of the source's head.
func (r *rebuild) freezeHead(ctx context.Context, seen observation, system domain.SystemSnapshot) error {
	r.beginChanges(ctx)
	attributes := domain.Attributes{CreatedAt: time.Now().UTC().Truncate(time.Second)}
	err := r.retry(ctx, "take the system snapshot", func() error {
		_, err := r.sources.host(seen.primary).Snapshot(ctx, system.Head.UUID, system.LvolName, attributes)
		return err
	})
	if err != nil && !errors.Is(err, ports.ErrExists) { // another rebuild from this source has taken it
		return fmt.Errorf("take the system snapshot %s of the source's head: %w", system.LvolName, executor.OfSource(seen.primary, err))
	}
	r.freezeWarnings = append(r.freezeWarnings, system.Warnings...)
	for _, warning := range system.Warnings {
		r.engine.log.Warn(warning, zap.String("replica", r.request.Destination.Replica))
	}
	r.engine.log.Info("the system snapshot of the source's head was taken", zap.String("snapshot", system.LvolName))
	return fmt.Errorf("%w: the system snapshot %s of the source's head was taken", executor.ErrPlanAgain, system.Name)
}

// carryOut carries out the plan: everything except the head, verification, the head,
// verification.
func (r *rebuild) carryOut(ctx context.Context, seen observation, plan domain.Plan, unlockImage func()) (err error) {
	r.beginChanges(ctx)
	r.logWarnings(plan)
	imageReady := sync.OnceFunc(unlockImage)
	defer imageReady()
	secondary, err := r.secondary(ctx, seen, plan)
	if err != nil {
		return err
	}
	x := r.executor(seen, plan, secondary, imageReady)
	defer func() {
		r.failed = ctx.Err() == nil && r.isFinal(err)
		if cleanup := x.CleanUp(ctx, err); cleanup != nil {
			r.cleanupErr = cleanup
			err = errors.Join(err, cleanup)
		}
	}()
	if err := x.Open(ctx); err != nil {
		return err
	}
	if err := x.Do(ctx, domain.StageRemoveHead, domain.StageDetach, domain.StageSetAside, domain.StagePrune, domain.StageBuild); err != nil {
		return err
	}
	x.Close(ctx)
	if r.sources.lostReason(seen.primary) != nil {
		// Other sources have served the rest. The next plan is made from one of them,
		// finds all snapshots, and compares.
		return fmt.Errorf("%w: the plan's source is no longer used", executor.ErrPlanAgain)
	}
	if seen, err = r.verifySnapshots(ctx, x, seen, plan); err != nil {
		return err
	}
	if plan.Replaces() {
		if seen, err = r.replace(ctx, x, seen, plan); err != nil {
			return err
		}
	}
	if err := x.Do(ctx, domain.StageCreateHead); err != nil {
		return err
	}
	return r.verifyHead(ctx, x, seen, plan.Base)
}

// isFinal reports whether no other plan can help after a failure.
func (r *rebuild) isFinal(failure error) bool {
	of := (*executor.SourceError)(nil)
	return failure != nil && !errors.Is(failure, executor.ErrPlanAgain) && !(r.sources.several() && errors.As(failure, &of))
}

// retry repeats do after temporary failures.
func (r *rebuild) retry(ctx context.Context, what string, do func() error) error {
	return executor.Retry(ctx, r.engine.log, r.run, what, do)
}
