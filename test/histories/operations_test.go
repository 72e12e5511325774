package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app"
)

// operation is one kind of step. It draws from the step's own random numbers, so that a
// history can be played without some of its steps.
type operation struct {
	name   string
	weight int
	do     func(w *world, r *rand.Rand)
}

var operations = []operation{
	{"create a volume", 5, (*world).createVolume},
	{"clone a volume", 5, (*world).cloneVolume},
	{"write", 12, (*world).writeVolume},
	{"snapshot", 9, (*world).snapshotVolume},
	{"delete a snapshot", 5, (*world).deleteSnapshot},
	{"revert", 4, (*world).revertVolume},
	{"expand", 3, (*world).expandVolume},
	{"lose a replica", 9, (*world).loseReplica},
	{"lose an image's link", 3, (*world).loseLink},
	{"lose an entry point", 5, (*world).loseEntryPoint},
	{"remove unused entry points", 4, (*world).removeEntryPoints},
	{"rebuild", 8, (*world).rebuildUndisturbed},
	{"rebuild with failures", 16, (*world).rebuildDisturbed},
	{"import an image", 3, (*world).importImage},
	{"remove an image", 2, (*world).removeImage},
	{"verify an image", 1, (*world).verifyImage},
	{"collect garbage", 3, (*world).collectGarbage},
	{"audit", 3, (*world).auditVolume},
	{"repair", 4, (*world).repairReplica},
	{"restart a target", 2, (*world).restartTarget},
	{"restart the engine", 2, (*world).restartEngine},
}

// firstOperations are the first steps, since most others need volumes, and some linked clones.
var firstOperations = []string{"import an image", "create a volume", "import an image", "create a volume", "write", "snapshot", "clone a volume"}

// draw draws the n-th step.
func draw(r *rand.Rand, n int) operation {
	if n < len(firstOperations) {
		return operations[slices.IndexFunc(operations, func(d operation) bool { return d.name == firstOperations[n] })]
	}
	sum := 0
	for _, d := range operations {
		sum += d.weight
	}
	drawn := r.IntN(sum)
	for _, d := range operations {
		if drawn -= d.weight; drawn < 0 {
			return d
		}
	}
	panic("the weights do not add up")
}

func ctx() context.Context { return context.Background() }

// pickVolume picks a volume that fits, if there is one.
func (w *world) pickVolume(r *rand.Rand, fits func(v *volume) bool) (*volume, bool) {
	var fit []*volume
	for _, v := range w.volumes {
		if fits(v) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		w.logf("there is none")
		return nil, false
	}
	return pick(r, fit), true
}

func isServing(v *volume) bool { return len(v.serving()) > 0 }

const (
	maxVolumes  = 4
	maxClusters = 10
)

func (w *world) createVolume(r *rand.Rand) {
	if len(w.volumes) >= maxVolumes {
		w.logf("there are enough")
		return
	}
	w.created++
	v := &volume{name: fmt.Sprintf("vol-%d", w.created), snapshots: make(map[string]view)}
	least := 1
	if len(w.images) > 0 && r.IntN(4) > 0 {
		v.image = pick(r, w.images)
		least = v.image.view.clusters()
	}
	clusters := min(least+r.IntN(4), maxClusters)
	v.head = make(view, clusters*perCluster)
	if v.image != nil {
		copy(v.head, v.image.view)
	}
	for n, s := range some(r, w.targets, 2+r.IntN(2)) {
		rep := &replica{of: v, name: fmt.Sprintf("%s-r-%08d", v.name, n+1), at: s, snapshots: make(map[string]bool)}
		if v.image != nil && !v.image.on[s] {
			w.mustImport(v.image, s)
		}
		if _, err := w.engine.engine.CreateReplica(ctx(), w.engine.at(rep), v.size(), v.base()); err != nil {
			fail("create %s: %v", rep, err)
		}
		v.replicas = append(v.replicas, rep)
	}
	w.volumes = append(w.volumes, v)
	w.logf("%s, %d clusters, %s, %v", v.name, clusters, v.base(), v.replicas)
}

func (w *world) writeVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, isServing)
	if !ok {
		return
	}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(v.head))
		cells := 1 + r.IntN(min(5, len(v.head)-at))
		if v.misreads() {
			// A write to a part of a cluster reads the rest first. A hurt replica reads
			// wrong bytes, and no repair corrects that.
			at -= at % perCluster
			cells = (cells + perCluster - 1) / perCluster * perCluster
			cells = min(cells, len(v.head)-at)
		}
		written := w.fresh(cells)
		copy(v.head[at:], written)
		for _, rep := range v.serving() {
			head, ok := rep.at.find(rep.name)
			if !ok {
				fail("%s has no head", rep)
			}
			w.write(rep.at, head.UUID, at, written)
		}
		w.logf("%s: %d cells at %d", v.name, cells, at)
	}
}

func (w *world) expandVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.head) < maxClusters*perCluster })
	if !ok {
		return
	}
	v.head = v.head.resized(len(v.head) + perCluster*(1+r.IntN(2)))
	for _, rep := range v.serving() {
		head, _ := rep.at.find(rep.name)
		if err := rep.at.host.Resize(head.UUID, v.size()); err != nil {
			fail("expand %s: %v", rep, err)
		}
	}
	w.logf("%s to %d clusters", v.name, len(v.head)/perCluster)
}

// disturb draws a failure while a user changes a volume.
func (w *world) disturb(r *rand.Rand, v *volume) (troubled bool) {
	if r.IntN(3) > 0 {
		return false
	}
	w.startFaults([]int64{0, 0, 5}[r.IntN(3)])
	switch r.IntN(4) {
	case 0:
		calls, sent := 1+r.IntN(8), r.IntN(2) == 0
		w.engine.dieSoon(calls, sent)
		w.logf("the engine dies at its call %d, which was sent: %v", calls, sent)
	case 1:
		s := pick(r, v.serving()).at
		calls := 1 + r.IntN(8)
		s.restartSoon(calls, time.Duration(r.IntN(3))*time.Second)
		w.logf("%s restarts at its call %d", s.name, calls)
	default:
		w.logf("some calls take long, %d %% fail", w.faults.Load())
	}
	return true
}

// change is the result of a requested change on one replica.
type change struct {
	*replica
	err   error
	after bool // it took effect
}

// reconcile finds the replicas on which a change of all replicas took effect. If it did
// on some only, the others are out of service, as an engine would decide.
func (w *world) reconcile(v *volume, all []*change, apply, undo func(*replica)) {
	w.quiesce()
	anyAfter := false
	before := make(map[*replica]string) // violations if it did not take effect
	for _, c := range all {
		undo(c.replica)
		before[c.replica] = w.violationOf(c.replica)
		apply(c.replica)
		after := w.violationOf(c.replica)
		undo(c.replica)
		if c.err == nil && after != "" {
			fail("%s: no error, and yet %s", c.replica, after)
		}
		c.after = after == ""
		if !c.readsRight() && before[c.replica] == "" { // its bytes do not show the change
			c.after = c.err == nil
		}
		anyAfter = anyAfter || c.after
	}
	for _, c := range all {
		w.logf("%s: %s", c.replica, oneLine(c.err))
		c.untidy, c.odd = c.untidy || c.err != nil, c.odd || c.err != nil
		switch {
		case c.after:
			apply(c.replica)
		case anyAfter || before[c.replica] != "":
			w.logf("%s is not whole any more", c.replica)
			w.drop(c.replica)
		}
	}
	v.dropUnusedSnapshots()
}

// drop takes a replica out of service.
func (w *world) drop(r *replica) {
	r.state = lost
	r.snapshots = nil
}

func (w *world) snapshotVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, isServing)
	if !ok {
		return
	}
	v.snapshotsTaken++
	name := fmt.Sprintf("%ss%d", []string{"", "", "a-snap-"}[r.IntN(3)], v.snapshotsTaken)
	if r.IntN(4) == 0 {
		// A deleted snapshot had the name, and the leftovers of a lost replica may still
		// have it.
		name = fmt.Sprintf("s%d", 1+r.IntN(v.snapshotsTaken))
	}
	if _, taken := v.snapshots[name]; taken {
		w.logf("%s has a snapshot %s", v.name, name)
		return
	}
	w.logf("%s of %s", name, v.name)
	w.disturb(r, v)
	var all []*change
	for _, rep := range v.serving() {
		_, err := w.engine.engine.CreateSnapshot(ctx(), w.engine.at(rep), name)
		all = append(all, &change{replica: rep, err: err})
	}
	v.snapshots[name] = slices.Clone(v.head)
	w.reconcile(v, all, func(r *replica) { r.snapshots[name] = true }, func(r *replica) { delete(r.snapshots, name) })
}

func (w *world) deleteSnapshot(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.snapshots) > 0 })
	if !ok {
		return
	}
	name := pick(r, v.names())
	w.logf("%s of %s", name, v.name)
	kept := make(map[*replica]string)
	for _, rep := range v.serving() {
		kept[rep] = w.mustKeep(rep, name)
	}
	troubled := w.disturb(r, v)
	var all []*change
	for _, rep := range v.serving() {
		if !rep.snapshots[name] {
			continue
		}
		_, err := w.engine.engine.DeleteSnapshot(ctx(), w.engine.at(rep), name)
		if err == nil && kept[rep] != "" {
			fail("snapshot %s of %s was deleted, though %s", name, rep, kept[rep])
		}
		if err != nil && !troubled && !isRefused(err) {
			fail("delete snapshot %s of %s: %v", name, rep, err)
		}
		all = append(all, &change{replica: rep, err: err})
	}
	// A replica on which it has several clones keeps it: the trees differ then, but not
	// the contents.
	w.reconcileEach(v, all, func(r *replica) { delete(r.snapshots, name) }, func(r *replica) { r.snapshots[name] = true })
}

// reconcileEach is reconcile for a change that may differ between replicas.
func (w *world) reconcileEach(v *volume, all []*change, apply, undo func(*replica)) {
	for _, c := range all {
		w.reconcile(v, []*change{c}, apply, undo)
	}
}

func isRefused(err error) bool { return errors.Is(err, app.ErrRefused) }

func (w *world) revertVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.snapshots) > 0 })
	if !ok {
		return
	}
	name := pick(r, v.names())
	w.logf("%s to %s", v.name, name)
	troubled := !v.misreads() && w.disturb(r, v)
	var all []*change
	for _, rep := range v.serving() {
		_, err := w.engine.engine.Revert(ctx(), app.RevertRequest{Replica: w.engine.at(rep), Snapshot: name})
		if err != nil && !troubled && rep.snapshots[name] {
			fail("revert %s to %s: %v", rep, name, err)
		}
		all = append(all, &change{replica: rep, err: err})
	}
	w.quiesce()
	for _, c := range all {
		// A revert that was interrupted between the old head and the new one is finished
		// by another one.
		if _, ok := c.at.find(c.name); ok || !c.snapshots[name] {
			continue
		}
		_, err := w.engine.engine.Revert(ctx(), app.RevertRequest{Replica: w.engine.at(c.replica), Snapshot: name, Size: w.unknownSize(c.replica)})
		w.logf("%s again: %s", c.replica, oneLine(err))
		if err != nil {
			fail("a revert of %s that was stopped cannot be finished: %v", c.replica, err)
		}
		// On a host without records the stand-in of the first one is not recognized.
		c.err, c.untidy = nil, true
	}
	was, back := v.head, v.snapshots[name].resized(len(v.head))
	w.reconcile(v, all, func(*replica) { v.head = back }, func(*replica) { v.head = was })
	v.head = was
	if slices.ContainsFunc(all, func(c *change) bool { return c.after }) {
		v.head = back
	}
}

// unknownSize is the size of a volume to give for a revert without a head; 0 if a
// stand-in keeps it, which needs a host with records.
func (w *world) unknownSize(r *replica) uint64 {
	for _, l := range r.at.list().Lvols {
		if r.fills(l.Name) && l.Record != "" {
			return 0
		}
	}
	return r.of.size()
}

func (w *world) restartTarget(r *rand.Rand) {
	s := pick(r, w.targets)
	s.host.Restart()
	w.logf("%s", s.name)
}

func (w *world) restartEngine(r *rand.Rand) {
	if r.IntN(2) == 0 {
		w.engine.die()
		w.logf("it is killed")
	} else {
		w.logf("in good order")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.engine.quit(ctx()); err != nil {
			w.failAsync(err.Error())
		}
	}()
	w.finish(done, "the end of the queue")
	w.engine = w.newProcess(w.limits)
}
