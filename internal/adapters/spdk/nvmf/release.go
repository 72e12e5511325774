package nvmf

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// detachFor is how long a run that ends waits for a detach. From a target that hangs it
// takes SPDK 10 s, and goes on if nobody waits for it.
const detachFor = 2 * time.Second

// Runs says which runs something is done to.
type Runs func(ports.Run) bool

// Ending is called as runs end, under the run's lock. nil: nothing has to be done.
type Ending struct {
	// Before is called first, with the runs that end.
	Before func(Runs)

	// Detaching is called before bdevs of these names and UUIDs go with their controllers.
	// Most of them do not exist: they are those that ways would show. After an error
	// nothing is detached.
	Detaching func(ctx context.Context, external []string) error
}

// Release ends exports and attachments: the first one of a run those that the target
// shows of all runs of the replica, later ones those of the run since.
func (e *Exports) Release(ctx context.Context, r ports.Run, with Ending) error {
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	e.mu.Lock()
	state := e.runLocked(r)
	swept, found := state.swept, state.openedLocked()
	e.mu.Unlock()
	end := ending{
		runs:  func(other ports.Run) bool { return other == r || !swept && other.SameReplica(r) },
		nqns:  func(nqn string) bool { return isRunNQN(nqn, r) },
		known: swept, opened: found,
	}
	if err := e.end(ctx, end, with); err != nil || swept {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runLocked(r).swept = true
	return nil
}

// EndRun ends the exports and attachments of one run. It asks the target about a run of
// another process.
func (e *Exports) EndRun(ctx context.Context, r ports.Run, with Ending) error {
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	end := ending{
		runs: func(other ports.Run) bool { return isSameRun(other, r) },
		nqns: func(nqn string) bool { return isNQNOf(nqn, r) },
	}
	e.mu.Lock()
	for other, state := range e.runs {
		if end.runs(other) {
			end.known, end.opened = true, state.openedLocked()
		}
	}
	e.mu.Unlock()
	return e.end(ctx, end, with)
}

// ending says which runs end, and what they have opened.
type ending struct {
	runs   Runs
	nqns   func(nqn string) bool // theirs
	known  bool                  // whether opened is all; else the target is asked
	opened opened
}

func (e *Exports) end(ctx context.Context, end ending, with Ending) (err error) {
	e.endOpenings(end.runs)
	if with.Before != nil {
		with.Before(end.runs)
	}
	if !end.known {
		if end.opened, err = e.find(ctx, end.nqns); err != nil {
			return err
		}
	}
	if with.Detaching != nil && len(end.opened.controllers) > 0 {
		var external []string
		for _, nqn := range end.opened.controllers {
			external = append(external, Way{NQN: nqn}.Bdev(), wayUUIDOf(nqn))
		}
		if err := with.Detaching(ctx, external); err != nil {
			return err
		}
	}
	if err := e.closeAll(ctx, end.known, end.opened); err != nil {
		return err
	}
	e.forget(end.runs)
	return nil
}

// Opened lists the target's subsystems and controllers of rebuilds, whatever lvstore
// they serve.
func (e *Exports) Opened(ctx context.Context) ([]ports.Opened, error) {
	all, err := e.find(ctx, runNQNForm.MatchString)
	if err != nil {
		return nil, err
	}
	var found []ports.Opened
	add := func(kind string, nqns []string) {
		for _, nqn := range nqns {
			parts := runNQNForm.FindStringSubmatch(nqn)
			found = append(found, ports.Opened{Run: ports.Run{Replica: parts[1], Store: parts[2], ID: parts[3]}, What: kind + " " + nqn})
		}
	}
	add("controller of", all.controllers)
	add("subsystem", all.subsystems)
	return found, nil
}

// opened are the NQNs of exports and attachments.
type opened struct{ subsystems, controllers []string }

func (s *run) openedLocked() opened {
	found := opened{controllers: slices.Sorted(maps.Keys(s.controllers))}
	for _, sub := range s.subsystems {
		found.subsystems = append(found.subsystems, sub.nqn)
	}
	return found
}

// closeAll ends controllers and subsystems. Controllers go first: one whose subsystem is
// gone tries to reconnect. hurry: a detach is not waited for long.
func (e *Exports) closeAll(ctx context.Context, hurry bool, found opened) error {
	detaching, end := ctx, func() {}
	if hurry {
		detaching, end = context.WithTimeout(ctx, detachFor)
	}
	err := e.detach(detaching, found.controllers...)
	end()
	return errors.Join(err, e.changes.deleteAll(ctx, found.subsystems...))
}

// forget drops runs that have ended, and gives the ports of their subsystems back.
func (e *Exports) forget(which Runs) {
	var gone []*subsystem
	e.mu.Lock()
	for r, state := range e.runs {
		if which(r) {
			gone = append(gone, state.subsystems...)
			delete(e.runs, r)
		}
	}
	e.mu.Unlock()
	for _, sub := range gone {
		e.releasePort(sub)
	}
}

// find asks the target for the subsystems and controllers of runs, by their NQNs.
func (e *Exports) find(ctx context.Context, wanted func(nqn string) bool) (found opened, err error) {
	exported, attached := rpc.GetSubsystems(""), rpc.GetControllers("")
	e.rpc.Do(ctx, exported, attached)
	if err := rpc.FirstErr([]rpc.Request{exported, attached}, ports.ErrUnsupported); err != nil {
		return opened{}, err
	}
	for _, sub := range exported.Result {
		if sub.ModelNumber == modelNumber && wanted(sub.Nqn) {
			found.subsystems = append(found.subsystems, sub.Nqn)
		}
	}
	for _, info := range attached.Result {
		for _, path := range info.Paths {
			if nqn := path.To.Subnqn; wanted(nqn) && info.Name == controllerName(nqn) {
				found.controllers = append(found.controllers, nqn)
				break
			}
		}
	}
	return found, nil
}
