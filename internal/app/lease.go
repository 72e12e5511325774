package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// The names of leases.
func replicaKey(storeUUID, replica string) string { return "replica " + storeUUID + "/" + replica }
func garbageKey(storeUUID string) string          { return "garbage " + storeUUID }
func runKey(run ports.Run) string                 { return "run " + run.ID }
func imageKey(storeUUID, inFlight string) string  { return "image " + storeUUID + "/" + inFlight }

// releases are called in reverse order.
type releases []func()

func (h *releases) add(release func()) { *h = append(*h, release) }

func (h *releases) release() {
	for _, release := range slices.Backward(*h) {
		release()
	}
	*h = nil
}

// take adds what has just been taken, unless that failed.
func (h *releases) take(release func(), err error) error {
	if err == nil {
		h.add(release)
	}
	return err
}

// takeAfter is take. What is busy is taken once more after the collection of garbage.
func (h *releases) takeAfter(take, collection func() (release func(), err error)) error {
	err := h.take(take())
	if !errors.Is(err, ports.ErrBusy) {
		return err
	}
	collected, err := collection()
	if err != nil {
		return err
	}
	collected()
	return h.take(take())
}

// unless is the result of a function that takes several things: all of them, or nothing
// after a failure.
func (h *releases) unless(failure error) (release func(), err error) {
	if failure != nil {
		h.release()
		return nil, failure
	}
	return h.release, nil
}

// describeCollection describes, for a wait, a collection of garbage.
func describeCollection() string { return "a garbage collection on the lvstore" }

// lease leases a name in this process and, if the host supports it, among processes.
//
// A garbage collection holds the leases of everything it may remove. It is short, so lease
// waits for it: a refused rebuild would not be tried again.
func (e *Engine) lease(ctx context.Context, host *guard.Host, storeUUID, name string, lease ports.Lease) (release func(), err error) {
	var all releases
	err = all.takeAfter(
		func() (func(), error) { return e.leases.Take(name, lease) },
		func() (func(), error) { return e.locks.acquire(ctx, garbageKey(storeUUID), describeCollection) },
	)
	if err != nil {
		return nil, err
	}
	err = all.takeAfter(
		func() (func(), error) { return e.leaseAmongProcesses(ctx, host, name, lease) },
		func() (func(), error) { return e.leaseCollection(ctx, host, storeUUID) },
	)
	return all.unless(err)
}

// leaseNow is lease without the wait for a collection of garbage.
func (e *Engine) leaseNow(ctx context.Context, host *guard.Host, name string, lease ports.Lease) (release func(), err error) {
	var all releases
	if err := all.take(e.leases.Take(name, lease)); err != nil {
		return nil, err
	}
	return all.unless(all.take(e.leaseAmongProcesses(ctx, host, name, lease)))
}

// heldByOtherProcess marks a lease that another process holds.
type heldByOtherProcess struct{ error }

func (e heldByOtherProcess) Unwrap() error { return e.error }

func isHeldByOtherProcess(failure error) bool {
	var marked heldByOtherProcess
	return errors.As(failure, &marked)
}

// leaseAmongProcesses leases a name among all processes. On a host that does not support
// it, it leases and refuses nothing; fewer hosts support shared leases.
func (e *Engine) leaseAmongProcesses(ctx context.Context, host *guard.Host, name string, lease ports.Lease) (release func(), err error) {
	if leaser, ok := ports.As[ports.Leaser](host); ok {
		lease.Holder += thisProcess
		release, err = leaser.Lease(ctx, name, lease)
	} else if claimer, ok := ports.As[ports.Claimer](host); ok && !lease.Shared {
		release, err = claimer.Claim(ctx, name)
	} else {
		return func() {}, nil
	}
	switch {
	case err == nil:
		return release, nil
	case errors.Is(err, ports.ErrBusy):
		return nil, heldByOtherProcess{err}
	case ctx.Err() != nil:
		return nil, fmt.Errorf("lease %s: %w", name, context.Cause(ctx))
	}
	e.log.Info("lease not visible to other processes", zap.String("name", name), zap.Error(err))
	return func() {}, nil
}

// thisProcess identifies this process to the holders of other leases.
var thisProcess = func() string {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Sprintf(" (process %d)", os.Getpid())
	}
	return fmt.Sprintf(" (process %d on %s)", os.Getpid(), host)
}()

// inUse turns a lease that others hold into a refusal. Other failures stay as they are.
func inUse(what string, failure error) error {
	if !errors.Is(failure, ports.ErrBusy) {
		return failure
	}
	by := holders(failure)
	if strings.Contains(by, rebuildHolder) {
		return refusef("%w: %s is in use by %s: wait until that has ended", ErrAtWork, what, by)
	}
	return refusef("%s is in use by %s: wait until that has ended", what, by)
}

// ErrAtWork marks refusals of changes to a replica that a rebuild reads or writes. The text
// names the rebuild and its process.
var ErrAtWork = errors.New("a rebuild is at work")

// rebuildHolder begins the Lease.Holder of every rebuild. Other processes recognize it by
// that.
const rebuildHolder = "the rebuild of replica "

// holders describes who holds the lease.
func holders(failure error) string {
	var held *ports.HeldError
	if errors.As(failure, &held) {
		if named := slices.DeleteFunc(slices.Clone(held.Holders), func(holder string) bool { return holder == "" }); len(named) > 0 {
			return strings.Join(named, " and ")
		}
	}
	if isHeldByOtherProcess(failure) {
		return "another process"
	}
	return "another operation of this process"
}

// collectingFor is the longest wait for another process's collection.
const collectingFor = 5 * time.Minute

// leaseCollection leases the garbage collection of a store, after any that is under way.
// After collectingFor it goes on without the lease: the leases of the owners suffice.
func (e *Engine) leaseCollection(ctx context.Context, host *guard.Host, storeUUID string) (release func(), err error) {
	using, end := host.Using(ctx)
	defer end()
	waiting, cancel := context.WithTimeout(using, collectingFor)
	defer cancel()
	err = retry.Busy.Call(waiting, func() error {
		release, err = e.leaseAmongProcesses(waiting, host, garbageKey(storeUUID), ports.Lease{Holder: "a collection of garbage"})
		return err
	})
	switch {
	case err == nil:
		return release, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx) // what was busy is no reason any more
	}
	return func() {}, nil
}

// leaseForChange leases a replica that is changed in place. what describes the change for
// those that are refused meanwhile.
func (e *Engine) leaseForChange(ctx context.Context, at site, what string) (release func(), err error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	if err := at.checkChangeable(); err != nil {
		return nil, err
	}
	return e.leaseReplica(ctx, at, ports.Lease{Holder: what + " of replica " + at.Replica})
}

func (e *Engine) leaseReplica(ctx context.Context, at site, lease ports.Lease) (release func(), err error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	store, err := identify(ctx, at)
	if err != nil {
		return nil, err
	}
	release, err = e.lease(ctx, at.Host, store.UUID, replicaKey(store.UUID, at.Replica), lease)
	return release, inUse(fmt.Sprintf("replica %s on lvstore %s", at.Replica, store.Name), err)
}

// identify returns UUID and name of a host's store, without a listing if possible.
func identify(ctx context.Context, at site) (domain.Listing, error) {
	if identifier, ok := ports.As[ports.Identifier](at.Host); ok {
		uuid, name := identifier.Identity()
		return domain.Listing{UUID: uuid, Name: name}, nil
	}
	return list(ctx, at)
}

// leaseImageRun excludes other imports and verifications of an image: each begins with the
// release of everything that runs of the same name have opened.
func (e *Engine) leaseImageRun(ctx context.Context, host *guard.Host, run imageRun, what string) (release func(), err error) {
	var all releases
	lease := ports.Lease{Holder: what + " of backing image " + run.image}
	for _, name := range []string{replicaKey(run.Store, run.Replica), runKey(run.Run)} {
		if err := all.take(e.leaseNow(ctx, host, name, lease)); err != nil {
			return all.unless(inUse(fmt.Sprintf("backing image %s on lvstore %s", run.image, run.lvstore), err))
		}
	}
	return all.release, nil
}

// imageRun is a run that creates, reads or deletes an image.
type imageRun struct {
	ports.Run

	image, lvstore string // names
}

func newImageRun(run ports.Run, image string, on domain.Listing) imageRun {
	return imageRun{run, image, on.Name}
}

// leaseImageUse leases an existing image: shared to use it, exclusive to delete it.
func (e *Engine) leaseImageUse(ctx context.Context, host *guard.Host, store domain.Listing, image string, lease ports.Lease) (release func(), err error) {
	release, err = e.lease(ctx, host, store.UUID, imageKey(store.UUID, domain.ImageLvolName(image, store.UUID)), lease)
	return release, inUse(fmt.Sprintf("backing image %s on lvstore %s", image, store.Name), err)
}
