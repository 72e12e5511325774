package histories

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// rebuildRun is one rebuild of a history.
type rebuildRun struct {
	source, destination *replica
	moreSources         []*replica // other sources
	request             app.Request
	mustRefuse          string // why it must be refused; "": it need not be
	mayRefuse           string // why it may be refused
	related             bool   // another one rebuilds a volume below it, or a linked clone of it
	deleted             string // a snapshot of the source that is deleted during the rebuild

	sourcesBefore     map[*replica]map[string]lvolState // of the sources before it, by UUID
	destinationBefore map[string]lvolState              // of the destination before it
	done              chan struct{}
	report            app.Report
	err               error
}

// disturbances are events during a rebuild.
type disturbances struct {
	mayFail          bool // the rebuild may fail
	skipsCleanup     bool // a cleanup may be skipped
	otherProcess     bool // another process rebuilds the same replica
	garbageCollected bool // garbage is collected
	frozen           bool // a snapshot is taken of another volume
	concurrent       []func()
	afterwards       []func() // functions to call at the end
}

func (w *world) rebuildUndisturbed(r *rand.Rand) {
	all := w.choose(r, 3)
	if len(all) == 0 {
		return
	}
	w.rebuild(all)
}

func (w *world) rebuildDisturbed(r *rand.Rand) {
	all := w.choose(r, 4)
	if len(all) == 0 {
		return
	}
	var t disturbances
	for range 1 + r.IntN(2) {
		w.addDisturbance(r, all, &t)
	}
	w.run(w.engine, all, t)
	if !w.engine.disarm() && r.IntN(2) == 0 {
		// Calls of the dead one may still go on, and take effect unexpectedly. The end of
		// the history checks that everything can be restored.
		w.logf("a new engine does the same at once")
		w.faults.Store(0)
		for _, s := range w.targets {
			s.disarm()
			s.resume()
		}
		w.engine = w.newProcess(w.limits)
		for i, a := range all {
			again := *a
			all[i] = &again
		}
		w.markTargetsUntidy()
		w.run(w.engine, all, disturbances{})
		t = disturbances{mayFail: true, otherProcess: t.otherProcess, garbageCollected: t.garbageCollected, concurrent: t.concurrent, afterwards: t.afterwards}
	}
	w.checkRebuilds(all, t)
}

// choose draws rebuilds.
func (w *world) choose(r *rand.Rand, most int) []*rebuildRun {
	var lostOnes []*replica
	for _, v := range w.volumes {
		if isServing(v) {
			lostOnes = append(lostOnes, v.in(lost)...)
		}
	}
	if len(lostOnes) == 0 {
		w.logf("there is nothing to rebuild")
	}
	var all []*rebuildRun
	for _, to := range some(r, lostOnes, 1+r.IntN(most)) {
		all = append(all, w.plan(r, to))
	}
	expectConflicts(all)
	return all
}

func (w *world) plan(r *rand.Rand, to *replica) *rebuildRun {
	v := to.of
	a := &rebuildRun{destination: to}
	if healthy := v.in(complete); len(healthy) > 0 && (r.IntN(6) > 0 || len(v.in(hurt)) == 0) {
		a.source = pick(r, healthy)
	} else {
		a.source = pick(r, v.in(hurt))
	}
	if r.IntN(3) == 0 {
		others := slices.DeleteFunc(v.serving(), func(other *replica) bool { return other == a.source })
		a.moreSources = some(r, others, len(others))
	}
	for _, other := range a.moreSources {
		if !maps.Equal(other.snapshots, a.source.snapshots) { // one was deleted on one of them alone
			a.mayRefuse = "the sources differ"
		}
	}
	a.request = app.Request{
		Volume: v.name, Base: v.base(), Parallel: 1 + r.IntN(4), Proof: r.IntN(2) == 0, Views: r.IntN(4) == 0,
		Options: domain.Options{Full: r.IntN(6) == 0},
	}
	if r.IntN(3) > 0 {
		a.request.Journal = w.journal
	}
	if r.IntN(5) == 0 {
		a.request.Bandwidth = append(a.request.Bandwidth, app.NewBandwidth([]uint64{0, 5_000, 50_000}[r.IntN(3)]))
	}
	store := a.source.at.list()
	if a.source.state == complete && len(a.moreSources) == 0 && (v.image != nil || v.origin != nil || store.Records) && r.IntN(2) == 0 {
		a.request.Base = domain.Base{} // the source tells
	}
	if a.source.state == hurt {
		a.request.Options.AcceptHurtSource = r.IntN(3) > 0
		healthy := slices.ContainsFunc(a.moreSources, func(other *replica) bool { return other.state == complete })
		switch {
		case healthy: // which is preferred
		case !a.request.Options.AcceptHurtSource:
			a.mustRefuse = "the source is hurt"
		case v.image == nil: // planClone
		case !v.image.on[to.at] && !slices.ContainsFunc(a.sources(), func(source *replica) bool { return v.image.on[source.at] }):
			a.mustRefuse = "the image is on no host"
		case !v.image.on[to.at] && len(a.moreSources) > 0:
			a.mayRefuse = "the image is not on the primary's host"
		}
	}
	w.planClone(a)
	return a
}

// sources are all replicas that it may read from.
func (a *rebuildRun) sources() []*replica { return append([]*replica{a.source}, a.moreSources...) }

// requestFrom is the request of a process.
func (a *rebuildRun) requestFrom(p *process) app.Request {
	request := a.request
	request.Source, request.Destination, request.MoreSources = p.at(a.source), p.at(a.destination), nil
	for _, other := range a.moreSources {
		request.MoreSources = append(request.MoreSources, p.at(other))
	}
	return request
}

// run runs rebuilds in a process, with the disturbances.
func (w *world) run(p *process, all []*rebuildRun, t disturbances) {
	synctest.Wait()
	w.calm.Store(true) // for the captures
	for _, a := range all {
		a.sourcesBefore, a.destinationBefore = make(map[*replica]map[string]lvolState), a.destination.at.capture(a.destination.isOf)
		for _, source := range a.sources() {
			a.sourcesBefore[source] = source.at.capture(source.isOf)
		}
		a.request = a.requestFrom(p)
		a.done = make(chan struct{})
		w.logf("%s from %v: image %v, parallel %d, full %v, accept hurt %v, journal %v, views %v", a.destination, a.sources(), a.request.Base.Record(),
			a.request.Parallel, a.request.Options.Full, a.request.Options.AcceptHurtSource, a.request.Journal != nil, a.request.Views)
	}
	w.calm.Store(false)
	for _, a := range all {
		job, err := p.queue.Submit(ctx(), a.request)
		if err != nil {
			fail("submit %s: %v", a.destination, err)
		}
		go func() {
			defer close(a.done)
			a.report, a.err = job.Wait(ctx())
		}()
	}
	for _, do := range t.concurrent {
		go do()
	}
	for _, a := range all {
		w.finish(a.done, "the rebuild of "+a.destination.String())
		w.logf("%s: %s", a.destination, oneLine(a.err))
	}
}

// sometime is a moment within a rebuild, mostly an early one.
func sometime(r *rand.Rand) time.Duration {
	return time.Duration(r.IntN(1000)) * []time.Duration{10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond}[r.IntN(4)]
}

// addDisturbance draws one disturbance.
func (w *world) addDisturbance(r *rand.Rand, all []*rebuildRun, t *disturbances) {
	a := pick(r, all)
	someSite := pick(r, []*replica{pick(r, a.sources()), a.destination}).at
	calls := 1 + r.IntN(1+r.IntN(120))
	after := sometime(r)
	later := func(do func()) { t.concurrent = append(t.concurrent, func() { time.Sleep(after); do() }) }
	switch r.IntN(15) {
	case 0, 1, 2:
		w.logf("%s is cancelled after %v", a.destination, after)
		t.mayFail = true
		later(func() {
			for _, job := range w.engine.queue.Jobs() {
				if s := job.Status(); s.Destination == a.destination.name {
					job.Cancel()
				}
			}
		})
	case 3, 4:
		sent := r.IntN(3) > 0
		w.logf("the engine dies at call %d, which was sent: %v", calls, sent)
		w.engine.dieSoon(calls, sent)
		t.mayFail, t.skipsCleanup = true, true
	case 5:
		down := time.Duration(r.IntN(4)) * 2 * time.Second
		w.logf("%s restarts at call %d, and is away for %v", someSite.name, calls, down)
		someSite.restartSoon(calls, down)
		t.mayFail = true
	case 6:
		hangs := time.Duration(1+r.IntN(40)) * time.Second
		w.logf("%s hangs at call %d for %v", someSite.name, calls, hangs)
		someSite.hangSoon(calls, hangs)
		t.mayFail, t.skipsCleanup = true, true
	case 7:
		// Few enough that no call fails for longer than it is retried.
		percent := []int64{1, 4, 10}[r.IntN(3)]
		w.faults.Store(percent)
		t.mayFail = t.mayFail || percent > 4
		w.logf("%d %% of the calls fail", percent)
	case 8:
		s := pick(r, w.targets)
		p := w.engine
		if r.IntN(2) == 0 {
			p = w.newProcess(w.limits)
		}
		w.logf("process %d collects the garbage of %s after %v", p.number, s.name, after)
		t.garbageCollected = true
		later(func() { _, _ = p.engine.RemoveGarbage(ctx(), p.connections[s]) })
	case 9:
		p := w.newProcess(w.limits)
		w.logf("process %d rebuilds %s, too, after %v", p.number, a.destination, after)
		t.mayFail, t.otherProcess = true, true
		a.mayRefuse = "another process is at it"
		request := a.requestFrom(p)
		over := make(chan struct{})
		later(func() {
			defer close(over)
			_, err := p.engine.Rebuild(ctx(), request)
			w.logf("process %d: %s", p.number, oneLine(err))
		})
		t.concurrent = append(t.concurrent, func() { <-over })
	case 10:
		// A second system snapshot of the same head on the same parent has the same name.
		users := slices.DeleteFunc(slices.Sorted(maps.Keys(a.source.snapshots)), system.MatchString)
		if len(users) > 0 && a.deleted == "" {
			w.deleteMeanwhile(pick(r, users), a.source, all, later)
		}
	case 11:
		w.snapshotMeanwhile(r, all, t, later)
	case 12:
		w.importMeanwhile(a, t, later)
	case 13:
		w.fillMeanwhile(r, a.destination.at, all, t, later)
	case 14:
		if s, o := a.destination.at, a.destination.of.origin; o != nil {
			t.mayFail = t.mayFail || !o.isSound(s) // none can be made
			w.logf("another engine removes the unused entry points of %s after %v", s.name, after)
			later(s.removeUnusedEntryPoints)
		}
	}
}

// deleteMeanwhile deletes a snapshot of the source: its clone takes over its clusters and
// differs from the copy then (rule 14).
func (w *world) deleteMeanwhile(name string, from *replica, all []*rebuildRun, later func(func())) {
	w.logf("snapshot %s of %s is deleted", name, from)
	for _, a := range all {
		if slices.Contains(a.sources(), from) {
			a.deleted = name
			if a.mayRefuse == "" {
				a.mayRefuse = "the deletion uses its source, or one of its sources lacks a snapshot that another one has"
			}
		}
	}
	p := w.engine
	later(func() {
		_, err := p.engine.DeleteSnapshot(ctx(), p.at(from), name)
		w.logf("delete snapshot %s of %s: %s", name, from, oneLine(err))
	})
}

// snapshotMeanwhile takes a snapshot of a volume that is not rebuilt, perhaps on the same
// hosts.
func (w *world) snapshotMeanwhile(r *rand.Rand, all []*rebuildRun, t *disturbances, later func(func())) {
	var others []*volume
	for _, v := range w.volumes {
		if isServing(v) && !slices.ContainsFunc(all, func(a *rebuildRun) bool { return a.destination.of == v }) {
			others = append(others, v)
		}
	}
	if len(others) == 0 || t.frozen {
		return
	}
	t.frozen = true
	v := pick(r, others)
	v.snapshotsTaken++
	name := fmt.Sprintf("m%d", v.snapshotsTaken)
	if _, taken := v.snapshots[name]; taken {
		return
	}
	w.logf("snapshot %s of %s is taken", name, v.name)
	for _, a := range all {
		if areRelated(v, a.destination.of) {
			a.mayRefuse = "a related volume gets a snapshot"
		}
	}
	p := w.engine
	var changes []*change
	for _, rep := range v.serving() {
		c := &change{replica: rep}
		changes = append(changes, c)
		later(func() { _, c.err = p.engine.CreateSnapshot(ctx(), p.at(rep), name) })
	}
	t.afterwards = append(t.afterwards, func() {
		v.snapshots[name] = slices.Clone(v.head)
		w.reconcile(v, changes, func(r *replica) { r.snapshots[name] = true }, func(r *replica) { delete(r.snapshots, name) })
	})
}

// importMeanwhile imports the image that a rebuild may be fetching.
func (w *world) importMeanwhile(a *rebuildRun, t *disturbances, later func(func())) {
	i := a.destination.of.image
	if i == nil || i.on[a.destination.at] {
		return
	}
	w.logf("%s is imported to %s", i.name, a.destination.at.name)
	p := w.engine
	var err error
	later(func() { _, err = w.tryImport(p, i, a.destination.at) })
	t.afterwards = append(t.afterwards, func() {
		w.logf("import %s to %s: %s", i.name, a.destination.at.name, oneLine(err))
		_, i.on[a.destination.at] = a.destination.at.find(a.destination.at.imageName(i))
		a.destination.at.untidy = a.destination.at.untidy || isUntidy(err)
	})
}

// fillMeanwhile fills most of the free space of the destination.
func (w *world) fillMeanwhile(r *rand.Rand, s *target, all []*rebuildRun, t *disturbances, later func(func())) {
	left := uint64(r.IntN(12))
	w.logf("%s fills up but for %d clusters", s.name, left)
	t.mayFail = true
	for _, a := range all {
		if a.destination.at == s {
			a.mayRefuse = "there is too little space"
		}
	}
	host := s.host
	filler, err := host.Create(ctx(), fmt.Sprintf("filler-%d", len(t.afterwards)), storeClusters*clusterSize)
	if err != nil {
		fail("create what fills a store: %v", err)
	}
	later(func() {
		for at := uint64(0); at < storeClusters && s.free() > left; at++ {
			_ = host.WriteAt(filler, []byte{1}, at*clusterSize) // a copy may be faster
		}
	})
	t.afterwards = append(t.afterwards, func() {
		if err := host.Delete(ctx(), filler); err != nil {
			fail("what fills a store has changed: %v", err)
		}
	})
}

func (w *world) markTargetsUntidy() {
	for _, s := range w.targets {
		s.untidy, s.late = true, true
	}
}

// checkRebuilds checks the stores after rebuilds.
func (w *world) checkRebuilds(all []*rebuildRun, t disturbances) {
	w.waitForEnd(t)
	for _, do := range t.afterwards {
		do()
	}
	for _, s := range w.targets {
		w.adoptEntryPoints(s)
	}
	for _, a := range all {
		w.adoptChanges(a)
	}
	for _, a := range all {
		w.checkRebuild(a, t)
	}
	for _, a := range all {
		a.destination.of.dropUnusedSnapshots()
	}
}

// waitForEnd waits for the end of all running calls.
func (w *world) waitForEnd(t disturbances) {
	died := !w.engine.disarm()
	w.faults.Store(0)
	for _, s := range w.targets {
		s.disarm()
		s.resume()
	}
	synctest.Wait()
	if t.otherProcess || len(t.concurrent) > 0 {
		time.Sleep(time.Hour) // the others end, too
	}
	w.quiesce()
	if died || t.skipsCleanup {
		w.markTargetsUntidy()
	}
}

var system = regexp.MustCompile(`^rebuild-[0-9a-f]{8}$`)

// adoptChanges updates the model by changes outside of the destination: one system
// snapshot of the source's head (rule 3), and the fetched image (rule 9).
func (w *world) adoptChanges(a *rebuildRun) {
	v := a.source.of
	if v.image != nil {
		if _, there := a.destination.at.find(a.destination.at.imageName(v.image)); there {
			v.image.on[a.destination.at] = true
		}
	}
	for _, source := range a.sources() {
		w.adoptSourceChanges(a, source)
	}
}

func (w *world) adoptSourceChanges(a *rebuildRun, from *replica) {
	v := from.of
	for _, l := range from.at.list().Lvols {
		name, ok := strings.CutPrefix(l.Name, from.prefix())
		if ok && !from.snapshots[name] && system.MatchString(name) {
			w.logf("%s was frozen as %s", from, name)
			for _, other := range v.in(complete) {
				if other.snapshots[name] && !slices.Equal(v.snapshots[name], v.head) {
					// Its head had a system snapshot of that name before and was written to
					// since; the test has deleted this replica's one meanwhile.
					w.logf("%s has another snapshot of that name", other)
					w.drop(other)
				}
			}
			from.snapshots[name] = true
			v.snapshots[name] = slices.Clone(v.head)
		}
	}
	if _, there := from.at.find(from.prefix() + a.deleted); a.deleted != "" && !there {
		delete(from.snapshots, a.deleted)
		from.odd = true
	}
}

// isAmbiguous: a leftover snapshot "a-snap-s1" of a replica without a head could be the
// snapshot s1 of another replica, "…-snap-a".
func (w *world) isAmbiguous(r *replica) bool {
	return r.state != complete && slices.ContainsFunc(r.at.list().Lvols, func(l domain.Lvol) bool { return strings.HasPrefix(l.Name, r.prefix()+"a-snap-") })
}

func (w *world) checkRebuild(a *rebuildRun, t disturbances) {
	if a.deleted == "" {
		for _, source := range a.sources() {
			w.checkSource(source, a.sourcesBefore[source], t, a.related)
		}
	}
	for n, told := range a.report.Sources {
		if told.State == app.SourceLost { // it is not cleaned up
			a.sources()[n].at.untidy = true
		}
	}
	to := a.destination
	refused := isRefused(a.err) && a.report.Outcome == app.OutcomeRefused
	w.counters.add("rebuild " + string(a.report.Outcome))
	if a.err == nil {
		for _, s := range a.report.Plan.Steps {
			w.counters.add("plan: " + string(s.Action))
		}
	}
	switch {
	case a.mustRefuse != "" && !refused && !t.mayFail:
		fail("the rebuild of %s was not refused, though %s: %v", to, a.mustRefuse, a.err)
	case refused && a.mustRefuse == "" && a.mayRefuse == "" && !w.isAmbiguous(to):
		fail("the rebuild of %s was refused without a cause: %v", to, a.err)
	case a.err != nil && !refused && !t.mayFail:
		fail("the rebuild of %s failed without a cause: %v", to, a.err)
	case a.err == nil:
		if a.mustRefuse != "" {
			fail("the rebuild of %s succeeded, though %s", to, a.mustRefuse)
		}
		w.mustBeComplete(a)
		if left := w.inFlight(to); left != "" && !t.otherProcess {
			fail("the rebuild of %s was complete, and %s is in flight", to, left)
		}
		if !t.otherProcess {
			w.mustHaveClosed(a)
		}
		to.untidy = false
		return
	}
	if errors.Is(a.err, app.ErrCleanUp) {
		for _, one := range append(a.sources(), to) {
			one.at.untidy = true
		}
	}
	head, hasHead := to.at.find(to.name)
	_, isOld := a.destinationBefore[head.UUID]
	switch {
	case t.otherProcess:
		if hasHead && !isOld {
			w.mustBeComplete(a)
			to.untidy = true
		}
		return
	case refused && a.mustRefuse+a.mayRefuse != "":
		w.mustBeUnchanged(a, !t.garbageCollected)
		return
	case hasHead && !isOld:
		// It failed after its work was done.
		w.mustBeComplete(a)
		to.untidy = true
		return
	case hasHead:
		w.mustBeUnchanged(a, false)
	}
	if t.skipsCleanup || to.at.untidy {
		return
	}
	for _, l := range to.at.list().Lvols {
		if _, before := a.destinationBefore[l.UUID]; to.fills(l.Name) && !before {
			fail("the rebuild of %s has left %s in flight, and does not say so: %v", to, l.Name, a.err)
		}
	}
}

// mustHaveClosed: after a complete rebuild nothing is open, including leftovers of
// earlier crashes.
func (w *world) mustHaveClosed(a *rebuildRun) {
	for _, one := range append(a.sources(), a.destination) {
		s := one.at
		for _, o := range s.opened() {
			if o.Run.Replica == a.destination.name && !s.untidy {
				fail("the rebuild of %s was complete, and on %s the %s is open", a.destination, s.name, o.What)
			}
		}
	}
}

// mustBeComplete: a replica with a head is complete and has the snapshots of one of its
// sources.
func (w *world) mustBeComplete(a *rebuildRun) {
	wrong := ""
	for _, source := range a.sources() {
		said := w.completeLike(a, source)
		if said == "" {
			return
		}
		wrong += said + "; "
	}
	fail("%s has a head, and yet %s (%s)", a.destination, wrong, oneLine(a.err))
}

// completeLike expects a replica like the source and returns the first violation.
func (w *world) completeLike(a *rebuildRun, source *replica) (wrong string) {
	a.destination.state, a.destination.snapshots, a.destination.odd = complete, maps.Clone(source.snapshots), source.odd
	a.destination.mangled = false
	if a.deleted != "" {
		// It may have been deleted on the source after the last check, and another rebuild
		// may have taken a system snapshot of the head since.
		for name := range a.source.of.snapshots {
			if _, there := a.destination.at.find(a.destination.prefix() + name); name == a.deleted || system.MatchString(name) {
				if delete(a.destination.snapshots, name); there {
					a.destination.snapshots[name] = true
				}
			}
		}
	}
	return w.violationOf(a.destination)
}

// mustBeUnchanged: while the old head exists nothing of the replica has changed, except
// for the head's record. If its source volume is rebuilt, too, it may read other bytes.
func (w *world) mustBeUnchanged(a *rebuildRun, all bool) {
	r, before := a.destination, a.destinationBefore
	now := r.at.capture(r.isOf)
	for uuid, was := range before {
		if !all && r.fills(was.lvol.Name) {
			continue
		}
		is, ok := now[uuid]
		is.lvol.Record, was.lvol.Record = "", ""
		if a.related {
			is.view, was.view = nil, nil
		}
		if !ok || !is.equal(was) {
			fail("%s has its old head, or the rebuild was refused, and yet it has changed: %v instead of %v", r, is, was)
		}
	}
	for uuid, is := range now {
		if _, was := before[uuid]; !was && (all || !r.fills(is.lvol.Name)) {
			fail("%s has its old head, or the rebuild was refused, and yet it has changed: %v is new", r, is)
		}
	}
}

// checkSource: the source is unchanged, except that its head's own clusters may be in a
// system snapshot now (rule 3), and that it may read other bytes if a related volume is
// rebuilt, too.
func (w *world) checkSource(from *replica, before map[string]lvolState, t disturbances, related bool) {
	now := from.at.capture(from.isOf)
	for uuid, was := range before {
		is, ok := now[uuid]
		switch {
		case !ok && t.garbageCollected && from.fills(was.lvol.Name):
			continue
		case !ok:
			fail("the source %s has lost %v", from, was)
		}
		if is.lvol.Parent != was.lvol.Parent {
			frozen, ok := now[is.lvol.Parent]
			name := strings.TrimPrefix(frozen.lvol.Name, from.prefix())
			if _, old := before[is.lvol.Parent]; !ok || old || was.lvol.Name != from.name || !system.MatchString(name) {
				fail("the source %s has changed: %v instead of %v", from, is, was)
			}
			if frozen.lvol.Own.Count != was.lvol.Own.Count || frozen.lvol.Parent != was.lvol.Parent || frozen.lvol.Size != was.lvol.Size {
				fail("the system snapshot is not what the head was: %v instead of %v", frozen, was)
			}
			was.lvol.Parent, was.lvol.Own = is.lvol.Parent, domain.Clusters{}
		}
		if related {
			is.view, was.view = nil, nil
		}
		if !is.equal(was) {
			fail("the source %s has changed: %v instead of %v", from, is, was)
		}
	}
	added := 0
	for uuid, is := range now {
		if _, old := before[uuid]; !old {
			if added++; added > 1 || !system.MatchString(strings.TrimPrefix(is.lvol.Name, from.prefix())) {
				fail("the source %s has changed: %v is new", from, is)
			}
		}
	}
}

// rebuild rebuilds without disturbances.
func (w *world) rebuild(all []*rebuildRun) {
	w.run(w.engine, all, disturbances{})
	w.checkRebuilds(all, disturbances{})
}
