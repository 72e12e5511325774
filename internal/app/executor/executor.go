package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// ErrPlanAgain marks errors after which a new plan is needed, since the store is no longer
// as planned. Finished snapshots stay, and the next plan keeps them. A retry of the same
// call cannot help.
var ErrPlanAgain error = planAgain{}

type planAgain struct{}

func (planAgain) Error() string { return "the store has changed since the plan was made" }

// Is makes it final for package retry, even if it wraps a temporary error.
func (planAgain) Is(target error) bool { return target == retry.ErrFinal }

// Config is the input of an Executor.
type Config struct {
	Host    ports.Host     // the store that the plan changes
	Listing domain.Listing // of Host, from which the plan was made
	Plan    domain.Plan
	Run     *Run

	// Sources are the sources of copies, by position; none for a plan that copies nothing.
	// Primary is the one that the plan was made from.
	Sources []*Source
	Primary int

	// Secondary are the candidates of other sources, by the UUID on the primary.
	Secondary map[string][]Candidate

	// Parallel is the number of copies at once, and of other operations beside them. With
	// 1 all operations run one after the other.
	Parallel int

	Limits Limits // of bandwidth; nil: none
	Space  Space  // of the store; nil: not watched
	Image  Image
	Sink   Sink

	// Live has the operations on a live volume; nil for other plans.
	Live Live

	// KeepOpen leaves the run's exports and connections open: another plan needs them.
	KeepOpen bool

	// Lock excludes other runs of this process from an lvol that they may use.
	Lock func(ctx context.Context, on domain.Listing, uuid string) (release func(), err error)

	// KeepsSealed says that the next run can prove the snapshots that this one has sealed.
	KeepsSealed bool

	Log *zap.Logger
}

// Image has the callbacks for an image that the plan fetches.
type Image struct {
	// Lease shows other processes that this run fills an in-flight image, whose name
	// contains no replica.
	Lease func(ctx context.Context, name string) (release func(), err error)

	// Ready is called after the image is sealed, or when it will not be.
	Ready func()

	// Compare compares the bytes of the fetched image with a source's, before the seal.
	// nil: views are not compared.
	Compare func(ctx context.Context, with Candidate, fetched string) error
}

// Limits keep copies within their bandwidth.
type Limits interface {
	// Copies is the number of copies that may run at once.
	Copies() int
	// Slot waits until a copy from a source may transfer.
	Slot(ctx context.Context, source int) (end func(), err error)
	// Limit limits copies from a source into the lvol until release is called.
	Limit(ctx context.Context, uuid string, source int) (release func(), err error)
}

// Space is the space of the store that the plan still needs.
type Space interface {
	// Created tells the UUID of an lvol that will be filled, and later those of the lvols
	// that get its clusters.
	Created(target domain.Ref, uuid string)
	// Filled sets the number of clusters of it that are filled.
	Filled(target domain.Ref, clusters uint64)
	// Check returns an ErrNoSpace if the running plans no longer fit on the store.
	Check(ctx context.Context) error
	// Fill calls fill. It ends it with an ErrNoSpace as in Check, or with an
	// ErrUnavailable if the host of the lvol stops answering.
	Fill(ctx context.Context, uuid string, fill func(context.Context) error) error
}

// Sink receives the progress of an Executor, from several goroutines at once.
type Sink interface {
	// Began reports that an operation begins.
	Began(s Step)
	// Copied reports the number of clusters that a copy has copied.
	Copied(s Step, clusters uint64)
	// Retrying reports that an operation is repeated after a temporary failure.
	Retrying(s Step, failure error)
	// Ended reports that an operation has succeeded.
	Ended(s Step)
	// Sealed reports the source's lvol of which a snapshot is the copy.
	Sealed(ctx context.Context, lvolName string, s domain.Sealing)
	// LeftOpen reports that something of the run may still be open on a source.
	LeftOpen(source int, why error)
}

// Step is one operation of the plan.
type Step struct {
	Index int // in the plan
	domain.Operation
	Subject  string // the snapshot's name; "" for the image and the head
	ServedBy int    // the source of a copy; -1: none, or not known yet
}

// Executor carries out one plan.
type Executor struct {
	Config

	model       *model
	refs        *refs
	copies      *copies
	image       imageProof
	leases      leases
	preparation preparation
	session     session
	headBegun   bool // the head may exist
	imageReady  func()

	onMembers table.Map[onMember, string] // UUIDs of the snapshots that the plan takes of members
}

// New makes an executor.
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
		Config:     c,
		model:      newModel(c),
		refs:       &refs{run: c.Run, listing: c.Listing},
		copies:     &copies{serving: make(map[domain.Ref]Candidate), load: make(map[int]uint64)},
		session:    session{opened: used(c.Sources)},
		imageReady: sync.OnceFunc(there),
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

// stage carries out several operations at once, each as soon as the operations that it
// depends on are done. Of several possible operations, the first in the plan comes first:
// so trees grow from the root.
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

// Close begins to close what the run has opened, once all is copied. It goes on beside the
// rest of the run. A run with one operation at a time leaves it to CleanUp.
func (x *Executor) Close(ctx context.Context) {
	if x.Parallel > 1 {
		x.session.close(ctx, x)
	}
}

// Closed waits for the end of Close before more is opened, since a release would close
// that, too.
func (x *Executor) Closed() error {
	if err, closing := x.session.wait(); closing && err != nil {
		return fmt.Errorf("close the exports: %w", err)
	}
	return nil
}

// Head is the current head, if the plan creates it or records something on it; otherwise
// ok is false.
func (x *Executor) Head(ctx context.Context) (head domain.Lvol, ok bool, err error) {
	for _, o := range x.Plan.Operations {
		if o.Stage == domain.StageCreateHead {
			head, err = x.Host.Look(ctx, x.refs.uuid(o.Target))
			return head, true, err
		}
	}
	return domain.Lvol{}, false, nil
}

// ImageReady lets runs continue that wait for the image.
func (x *Executor) ImageReady() { x.imageReady() }

// atOnce makes independent calls. See AtOnce.
func (x *Executor) atOnce(calls ...func() error) error { return AtOnce(x.Parallel, calls...) }

// AtOnce makes all calls at once and returns the first error in the order of the calls.
// With parallel 1 it makes them one after the other until the first error, so that the
// n-th call of a run is always the same.
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
	return cmp.Or(errs...)
}

// unlimitedSpace is for a plan that fills nothing.
type unlimitedSpace struct{}

func (unlimitedSpace) Created(domain.Ref, string)  {}
func (unlimitedSpace) Filled(domain.Ref, uint64)   {}
func (unlimitedSpace) Check(context.Context) error { return nil }
func (unlimitedSpace) Fill(ctx context.Context, _ string, fill func(context.Context) error) error {
	return fill(ctx)
}

type noLimits struct{ parallel int }

func (l noLimits) Copies() int                                      { return l.parallel }
func (noLimits) Slot(context.Context, int) (func(), error)          { return func() {}, nil }
func (noLimits) Limit(context.Context, string, int) (func(), error) { return func() {}, nil }

func isFull(err error) bool { return errors.Is(err, ports.ErrNoSpace) }
