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

// deed is one kind of step. What it does it draws from the step's own random
// numbers, so that a history can be played without some of its steps.
type deed struct {
	name   string
	weight int
	do     func(w *world, r *rand.Rand)
}

var deeds = []deed{
	{"create a volume", 5, (*world).createVolume},
	{"write", 12, (*world).writeVolume},
	{"snapshot", 9, (*world).snapshotVolume},
	{"delete a snapshot", 5, (*world).deleteSnapshot},
	{"revert", 4, (*world).revertVolume},
	{"expand", 3, (*world).expandVolume},
	{"lose a replica", 9, (*world).loseReplica},
	{"lose an image's link", 3, (*world).loseLink},
	{"rebuild", 8, (*world).rebuildInPeace},
	{"rebuild in trouble", 16, (*world).rebuildInTrouble},
	{"import an image", 3, (*world).importImage},
	{"remove an image", 2, (*world).removeImage},
	{"verify an image", 1, (*world).verifyImage},
	{"collect garbage", 3, (*world).collectGarbage},
	{"audit", 3, (*world).auditVolume},
	{"repair", 4, (*world).repairReplica},
	{"restart a target", 2, (*world).restartTarget},
	{"restart the engine", 2, (*world).restartEngine},
}

// beginning is what the first steps are: without volumes little happens.
var beginning = []string{"import an image", "create a volume", "import an image", "create a volume", "write"}

// draw draws the n-th step.
func draw(r *rand.Rand, n int) deed {
	if n < len(beginning) {
		return deeds[slices.IndexFunc(deeds, func(d deed) bool { return d.name == beginning[n] })]
	}
	sum := 0
	for _, d := range deeds {
		sum += d.weight
	}
	drawn := r.IntN(sum)
	for _, d := range deeds {
		if drawn -= d.weight; drawn < 0 {
			return d
		}
	}
	panic("the weights do not add up")
}

func ctx() context.Context { return context.Background() }

// pickVolume picks one for which that holds, if there is one.
func (w *world) pickVolume(r *rand.Rand, fits func(v *volume) bool) (*volume, bool) {
	var fit []*volume
	for _, v := range w.volumes {
		if fits(v) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		w.say("there is none")
		return nil, false
	}
	return pick(r, fit), true
}

func isServing(v *volume) bool { return len(v.serving()) > 0 }

const (
	mostVolumes  = 4
	mostClusters = 10
)

func (w *world) createVolume(r *rand.Rand) {
	if len(w.volumes) == mostVolumes {
		w.say("there are enough")
		return
	}
	w.made++
	v := &volume{name: fmt.Sprintf("vol-%d", w.made), snapshots: make(map[string]view)}
	least := 1
	if len(w.images) > 0 && r.IntN(4) > 0 {
		v.image = pick(r, w.images)
		least = v.image.view.clusters()
	}
	clusters := min(least+r.IntN(4), mostClusters)
	v.head = make(view, clusters*perCluster)
	if v.image != nil {
		copy(v.head, v.image.view)
	}
	for n, s := range some(r, w.sites, 2+r.IntN(2)) {
		rep := &replica{of: v, name: fmt.Sprintf("%s-r-%08d", v.name, n+1), at: s, snapshots: make(map[string]bool)}
		if v.image != nil && !v.image.on[s] {
			w.bring(v.image, s)
		}
		if _, err := w.engine.engine.CreateReplica(ctx(), w.engine.at(rep), v.size(), v.imageSaid()); err != nil {
			fail("create %s: %v", rep, err)
		}
		v.replicas = append(v.replicas, rep)
	}
	w.volumes = append(w.volumes, v)
	w.say("%s, %d clusters, %s, %v", v.name, clusters, v.imageSaid(), v.replicas)
}

func (w *world) writeVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, isServing)
	if !ok {
		return
	}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(v.head))
		cells := 1 + r.IntN(min(5, len(v.head)-at))
		if len(v.in(hurt)) > 0 {
			// Of what is written to a part of a cluster the rest is read first, and a
			// hurt replica reads it wrong: no repair makes that good.
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
		w.say("%s: %d cells at %d", v.name, cells, at)
	}
}

func (w *world) expandVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.head) < mostClusters*perCluster })
	if !ok {
		return
	}
	v.head = v.head.long(len(v.head) + perCluster*(1+r.IntN(2)))
	for _, rep := range v.serving() {
		head, _ := rep.at.find(rep.name)
		if err := rep.at.host.Resize(head.UUID, v.size()); err != nil {
			fail("expand %s: %v", rep, err)
		}
	}
	w.say("%s to %d clusters", v.name, len(v.head)/perCluster)
}

// unrest is what may happen while a user changes a volume.
func (w *world) unrest(r *rand.Rand, v *volume) (troubled bool) {
	if r.IntN(3) > 0 {
		return false
	}
	w.turmoil([]int64{0, 0, 5}[r.IntN(3)])
	switch r.IntN(4) {
	case 0:
		calls, sent := 1+r.IntN(8), r.IntN(2) == 0
		w.engine.dieSoon(calls, sent)
		w.say("the engine dies at its call %d, which was sent: %v", calls, sent)
	case 1:
		s := pick(r, v.serving()).at
		calls := 1 + r.IntN(8)
		s.restartSoon(calls, time.Duration(r.IntN(3))*time.Second)
		w.say("%s restarts at its call %d", s.name, calls)
	default:
		w.say("some calls take long, %d %% fail", w.faults.Load())
	}
	return true
}

// changed is one replica after a change that was asked for.
type changed struct {
	*replica
	err   error
	after bool // the change took effect
}

// settle finds out on which replicas a change took effect that was asked of all of
// them. Those on which it did not, while it did on others, are not whole any more:
// that is what an engine makes of such replicas, too.
func (w *world) settle(v *volume, all []*changed, apply, undo func(*replica)) {
	w.peace()
	anyAfter := false
	before := make(map[*replica]string) // what would be wrong if it did not
	for _, c := range all {
		undo(c.replica)
		before[c.replica] = w.whatIsWrongWith(c.replica)
		apply(c.replica)
		after := w.whatIsWrongWith(c.replica)
		undo(c.replica)
		if c.err == nil && after != "" {
			fail("%s: no error, and yet %s", c.replica, after)
		}
		c.after = after == ""
		if c.state == hurt && before[c.replica] == "" { // it does not show what was done
			c.after = c.err == nil
		}
		anyAfter = anyAfter || c.after
	}
	for _, c := range all {
		w.say("%s: %s", c.replica, oneLine(c.err))
		c.untidy, c.odd = c.untidy || c.err != nil, c.odd || c.err != nil
		switch {
		case c.after:
			apply(c.replica)
		case anyAfter || before[c.replica] != "":
			w.say("%s is not whole any more", c.replica)
			w.drop(c.replica)
		}
	}
	v.forget()
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
	v.taken++
	name := fmt.Sprintf("%ss%d", []string{"", "", "a-snap-"}[r.IntN(3)], v.taken)
	if r.IntN(4) == 0 {
		// One that was deleted before had the name, and what is left of a lost
		// replica may have it still.
		name = fmt.Sprintf("s%d", 1+r.IntN(v.taken))
	}
	if _, taken := v.snapshots[name]; taken {
		w.say("%s has a snapshot %s", v.name, name)
		return
	}
	w.say("%s of %s", name, v.name)
	w.unrest(r, v)
	var all []*changed
	for _, rep := range v.serving() {
		_, err := w.engine.engine.CreateSnapshot(ctx(), w.engine.at(rep), name)
		all = append(all, &changed{replica: rep, err: err})
	}
	v.snapshots[name] = slices.Clone(v.head)
	w.settle(v, all, func(r *replica) { r.snapshots[name] = true }, func(r *replica) { delete(r.snapshots, name) })
}

func (w *world) deleteSnapshot(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.snapshots) > 0 })
	if !ok {
		return
	}
	name := pick(r, v.names())
	w.say("%s of %s", name, v.name)
	troubled := w.unrest(r, v)
	var all []*changed
	for _, rep := range v.serving() {
		if !rep.snapshots[name] {
			continue
		}
		_, err := w.engine.engine.DeleteSnapshot(ctx(), w.engine.at(rep), name)
		if err != nil && !troubled && !isRefused(err) {
			fail("delete snapshot %s of %s: %v", name, rep, err)
		}
		all = append(all, &changed{replica: rep, err: err})
	}
	// A replica on which it may not be deleted, since several lvols hang on it,
	// keeps it: that is another tree, but not another content.
	w.settleEach(v, all, func(r *replica) { delete(r.snapshots, name) }, func(r *replica) { r.snapshots[name] = true })
}

// settleEach is settle for a change that replicas may have or not.
func (w *world) settleEach(v *volume, all []*changed, apply, undo func(*replica)) {
	for _, c := range all {
		w.settle(v, []*changed{c}, apply, undo)
	}
}

func isRefused(err error) bool { return errors.Is(err, app.ErrRefused) }

func (w *world) revertVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return isServing(v) && len(v.snapshots) > 0 })
	if !ok {
		return
	}
	name := pick(r, v.names())
	w.say("%s to %s", v.name, name)
	troubled := len(v.in(hurt)) == 0 && w.unrest(r, v)
	var all []*changed
	for _, rep := range v.serving() {
		_, err := w.engine.engine.Revert(ctx(), app.RevertRequest{Replica: w.engine.at(rep), Snapshot: name})
		if err != nil && !troubled && rep.snapshots[name] {
			fail("revert %s to %s: %v", rep, name, err)
		}
		all = append(all, &changed{replica: rep, err: err})
	}
	w.peace()
	for _, c := range all {
		// One that was stopped between the old head and the new one is finished by
		// another one.
		if _, ok := c.at.find(c.name); ok || !c.snapshots[name] {
			continue
		}
		_, err := w.engine.engine.Revert(ctx(), app.RevertRequest{Replica: w.engine.at(c.replica), Snapshot: name, Size: w.sizeToSay(c.replica)})
		w.say("%s again: %s", c.replica, oneLine(err))
		if err != nil {
			fail("a revert of %s that was stopped cannot be finished: %v", c.replica, err)
		}
		// On a host without records nobody knows the stand-in of the first one.
		c.err, c.untidy = nil, true
	}
	was, back := v.head, v.snapshots[name].long(len(v.head))
	w.settle(v, all, func(*replica) { v.head = back }, func(*replica) { v.head = was })
	v.head = was
	if slices.ContainsFunc(all, func(c *changed) bool { return c.after }) {
		v.head = back
	}
}

// sizeToSay is the size of a volume whose head is gone, if nothing tells it any
// more: a stand-in keeps it, where the host keeps records.
func (w *world) sizeToSay(r *replica) uint64 {
	for _, l := range r.at.list().Lvols {
		if r.fills(l.Name) && l.Record != "" {
			return 0
		}
	}
	return r.of.size()
}

func (w *world) restartTarget(r *rand.Rand) {
	s := pick(r, w.sites)
	s.host.Restart()
	w.say("%s", s.name)
}

func (w *world) restartEngine(r *rand.Rand) {
	if r.IntN(2) == 0 {
		w.engine.die()
		w.say("it is killed")
	} else {
		w.say("in good order")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.engine.quit(ctx()); err != nil {
			w.broke(err.Error())
		}
	}()
	w.finish(done, "the end of the queue")
	w.engine = w.newProcess(w.limits)
}
