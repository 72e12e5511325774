package nvmf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Connect attaches the target to all paths of a way, until the run is released. If one of
// them begins in this target, that is used alone: the others outlive it of no use.
func (e *Exports) Connect(ctx context.Context, r ports.Run, ways ...ports.Address) error {
	if err := CheckRun(r); err != nil {
		return err
	}
	paths, err := e.paths(ways)
	if err != nil || paths[0].Remote == nil {
		return err
	}
	unlock, err := e.lock(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	state := e.run(r)
	e.mu.Lock()
	// It is a user for good, so that no copy detaches it (detachIdle).
	state.controllers[paths[0].NQN] = &controller{users: 1}
	e.mu.Unlock()
	for _, w := range paths {
		if err := w.Attach(ctx, e.rpc, e.nqns.target); err != nil {
			return err
		}
	}
	return nil
}

// paths are the ways of one ID that this target uses: all, or the one within it.
func (e *Exports) paths(ways []ports.Address) ([]Way, error) {
	var paths []Way // that are not spare
	for _, at := range ways {
		w, err := ParseWay(at)
		if err != nil {
			return nil, err
		}
		if err := w.Admits(e.nqns.target); err != nil {
			return nil, err
		}
		if len(paths) > 0 && (w.ID != paths[0].ID || w.Head != "") {
			return nil, fmt.Errorf("ways %s and %s are not of one snapshot: %w", paths[0].NQN, w.NQN, ports.ErrInvalid)
		}
		switch {
		case w.Spare:
		case w.Remote == nil:
			return []Way{w}, nil
		default:
			paths = append(paths, w)
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("none of %d ways can be used: %w", len(ways), ports.ErrInvalid)
	}
	return paths, nil
}

// appearsIn is how long a shown lvol may take to appear where the way is attached. As a
// rule it is there at once.
const appearsIn = time.Second

// External waits until the snapshot at the ways has appeared and is not being examined any
// more: a bdev that is examined cannot be claimed. It returns that bdev and, looked at in
// the same write, the lvol that is to read through to it.
//
// ports.ErrUnavailable: nothing is shown at any of the ways.
func (e *Exports) External(ctx context.Context, lvol string, ways ...ports.Address) (outside, l *rpc.Bdev, err error) {
	paths, err := e.paths(ways)
	if err != nil {
		return nil, nil, err
	}
	name, err := e.bdevOf(ctx, paths[0])
	if err != nil {
		return nil, nil, err
	}
	wait := rpc.BackOff{Pause: 2 * time.Millisecond, Longest: 50 * time.Millisecond, Until: time.Now().Add(appearsIn)}
	for {
		// In this order: a bdev that is found was registered before it is waited for.
		find, examined, look := rpc.GetBdev(name), rpc.WaitForExamine(), rpc.GetBdev(lvol)
		e.rpc.Do(ctx, find, examined, look)
		if err := rpc.FirstErr([]rpc.Request{find, examined}, ports.ErrNotFound); err != nil {
			return nil, nil, err
		}
		if find.Err == nil && len(find.Result) == 1 {
			l, err := e.store.Found(look, lvol)
			return &find.Result[0], l, err
		}
		if !wait.Next(ctx) {
			return nil, nil, notShown(paths...)
		}
	}
}

// bdevOf is the bdev that a way leads to, or is going to lead to.
func (e *Exports) bdevOf(ctx context.Context, w Way) (string, error) {
	if w.Remote != nil {
		return w.Bdev(), nil
	}
	lvol, err := w.Local(ctx, e.rpc)
	if errors.Is(err, ports.ErrNotFound) || err == nil && lvol == "" {
		return "", notShown(w)
	}
	return lvol, err
}

func notShown(paths ...Way) error {
	at := "this target"
	if paths[0].Remote != nil {
		var all []string
		for _, w := range paths {
			all = append(all, w.Remote.Traddr+":"+w.Remote.Trsvcid)
		}
		at = strings.Join(all, ", ")
	}
	return fmt.Errorf("nothing is shown at way %s of %s: %w", paths[0].NQN, at, ports.ErrUnavailable)
}
