package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// ErrPlanAgain says that the store is not any more what the plan was made for. What was
// finished stays; the next plan finds it. No other attempt of the same call can mend it.
var ErrPlanAgain error = planAgain{}

type planAgain struct{}

func (planAgain) Error() string { return "the store has changed since the plan was made" }

// Is makes it final for package retry, whatever else the error wraps.
func (planAgain) Is(target error) bool { return target == retry.ErrFinal }

// Config is what an Executor works with.
type Config struct {
	Host    ports.Host     // the store that the plan changes
	Listing domain.Listing // of it, as the plan was made from it
	Plan    domain.Plan
	Run     *Run

	// Sources are where copies come from, by position; none for a plan that copies
	// nothing. Primary is the one that the plan was made from.
	Sources []*Source
	Primary int

	// Secondary are the candidates on other sources, by the UUID on the primary.
	Secondary map[string][]Candidate

	// Parallel is how many copies go on at once, and as many other operations beside
	// them. With 1 it is one operation after the other.
	Parallel int

	Limits Limits // of bandwidth; nil: none
	Space  Space  // of the store; nil: nobody watches it
	Image  Image
	Sink   Sink

	// Lock keeps the other runs of this process off an lvol that they may share.
	Lock func(ctx context.Context, on domain.Listing, uuid string) (release func(), err error)

	// KeepsSealed says that the next run can prove what this one has sealed.
	KeepsSealed bool

	Log *zap.Logger
}

// Image is what concerns the image that the plan fetches, if it does.
type Image struct {
	// Lease shows other processes that an image in flight is being filled: it has no
	// replica's name.
	Lease func(ctx context.Context, name string) (release func(), err error)

	// Ready is called once the image is sealed, or will not be.
	Ready func()

	// Compare reads the fetched image and a source's, where no host proves anything
	// and views are compared; nil: it is not asked for.
	Compare func(ctx context.Context, with Candidate, fetched string) error
}

// Limits hold copies within their bandwidth.
type Limits interface {
	// Copies is how many copies there may be at once.
	Copies() int
	// Slot waits until a copy from that source may go on.
	Slot(ctx context.Context, source int) (end func(), err error)
	// Limit limits what a source copies into the lvol until release is called.
	Limit(ctx context.Context, uuid string, source int) (release func(), err error)
}

// Space is what the plan still needs of the store's.
type Space interface {
	// Created tells the UUID of an lvol that is going to be filled.
	Created(target domain.Ref, uuid string)
	// Filled tells how many clusters of it are filled.
	Filled(target domain.Ref, clusters uint64)
	// Check is an ErrNoSpace where what runs on the store does not fit any more.
	Check(ctx context.Context) error
	// Fill calls fill, and ends it with an ErrNoSpace likewise, or with an ErrUnavailable
	// when the host of the lvol that is filled does not answer any more.
	Fill(ctx context.Context, uuid string, fill func(context.Context) error) error
}

// Sink is told what an Executor does, by several goroutines at once.
type Sink interface {
	// Began tells that an operation begins.
	Began(s Step)
	// Copied tells how many clusters of a copy are there.
	Copied(s Step, clusters uint64)
	// Retrying tells that an operation is done again after a failure that may pass.
	Retrying(s Step, failure error)
	// Ended tells that an operation is done.
	Ended(s Step)
	// Sealed tells of which lvol of a source a snapshot is the copy.
	Sealed(ctx context.Context, lvolName string, s domain.Sealing)
	// LeftOpen tells that something of the run may be open on a source still.
	LeftOpen(source int, why error)
}

// Step is an operation of the plan on its way.
type Step struct {
	Index int // in the plan
	domain.Operation
	Subject  string // the snapshot's name; "" for the image and the head
	ServedBy int    // the source of a copy; -1: there is none, or it is not known yet
}

// Executor carries one plan out.
type Executor struct {
	Config

	model       *model
	refs        *refs
	copies      *copies
	image       imageProof
	leases      leases
	preparation preparation
	session     session
	headBegun   bool // the head may be there
	imageReady  func()
}

// New makes the executor of a plan.
func New(c Config) *Executor {
	if c.Space == nil {
		c.Space = unlimitedSpace{}
	}
	if c.Limits == nil {
		c.Limits = noLimits{c.Parallel}
	}
	there := c.Image.Ready
	if there == nil {
		there = func() {}
	}
	x := &Executor{
		Config:  c,
		model:   newModel(c),
		refs:    newRefs(c),
		copies:  newCopies(c),
		session: session{opened: used(c.Sources)},
		leases:  leases{held: make(map[string]func())}, imageReady: sync.OnceFunc(there),
	}
	return x
}

// Do carries out the operations of the stages, one stage after the other.
func (x *Executor) Do(ctx context.Context, stages ...domain.Stage) error {
	for _, stage := range stages {
		x.headBegun = x.headBegun || stage == domain.StageCreateHead
		if err := x.stage(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

// stage carries out several operations at once, each as soon as those are done that it
// comes after. Of those that could be next, the one that the plan lists first is: so
// trees grow from the root on.
func (x *Executor) stage(ctx context.Context, stage domain.Stage) error {
	todo := newScheduler(x.Plan.Operations, stage, x.Parallel, x.Limits.Copies)
	subjects := x.Plan.SubjectOf()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var workers sync.WaitGroup
	for range min(todo.workers(), todo.remaining) {
		workers.Go(func() {
			for {
				i, ok := todo.next()
				if !ok {
					return
				}
				s := &step{Step: Step{i, x.Plan.Operations[i], subjects[i], -1}, unlockNext: func() { todo.unlock(i) }}
				if err := x.carryOut(ctx, s); err != nil {
					cancel(err) // the first failure stops the others
					todo.abandon()
					return
				}
				todo.done(i)
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// Close ends what the run has opened, which nothing needs any more once all is copied: it
// goes on beside the rest of the run. A run that does one thing at a time does it in
// CleanUp.
func (x *Executor) Close(ctx context.Context) {
	if x.Parallel > 1 {
		x.session.close(ctx, x)
	}
}

// Closed waits until Close is over, before more is opened: a release that goes on would
// end that, too. CleanUp closes it.
func (x *Executor) Closed() error {
	if err, closing := x.session.wait(); closing && err != nil {
		return fmt.Errorf("close what was received: %w", err)
	}
	return nil
}

// Head is the head that the plan makes, or records something on, as it is now; ok is
// false where it does neither.
func (x *Executor) Head(ctx context.Context) (head domain.Lvol, ok bool, err error) {
	for _, o := range x.Plan.Operations {
		if o.Stage == domain.StageCreateHead {
			head, err = x.Host.Look(ctx, x.refs.uuid(o.Target))
			return head, true, err
		}
	}
	return domain.Lvol{}, false, nil
}

// ImageReady lets others go on that wait for the image, also where it will not come.
func (x *Executor) ImageReady() { x.imageReady() }

// atOnce makes calls that do not depend on each other, all of them, and returns the first
// error in their order. A run that does one thing at a time makes them one after the
// other, so that its n-th call is always the same.
func (x *Executor) atOnce(calls ...func() error) error { return AtOnce(x.Parallel, calls...) }

// AtOnce makes the calls beside each other, or one after the other where parallel is 1,
// until the first error. It returns the first error in the order of the calls.
func AtOnce(parallel int, calls ...func() error) error {
	errs := make([]error, len(calls))
	if parallel == 1 {
		for _, call := range calls {
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	}
	var made sync.WaitGroup
	for i, call := range calls {
		if i == len(calls)-1 {
			errs[i] = call()
		} else {
			made.Go(func() { errs[i] = call() })
		}
	}
	made.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// unlimitedSpace is of a plan that fills nothing.
type unlimitedSpace struct{}

func (unlimitedSpace) Created(domain.Ref, string)  {}
func (unlimitedSpace) Filled(domain.Ref, uint64)   {}
func (unlimitedSpace) Check(context.Context) error { return nil }
func (unlimitedSpace) Fill(ctx context.Context, _ string, fill func(context.Context) error) error {
	return fill(ctx)
}

// noLimits hold nothing back.
type noLimits struct{ parallel int }

func (l noLimits) Copies() int                                      { return l.parallel }
func (noLimits) Slot(context.Context, int) (func(), error)          { return func() {}, nil }
func (noLimits) Limit(context.Context, string, int) (func(), error) { return func() {}, nil }

// isFull tells that a store has no room.
func isFull(err error) bool { return errors.Is(err, ports.ErrNoSpace) }
