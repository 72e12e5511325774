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

// attempt is one rebuild of a history.
type attempt struct {
	from, to *replica
	more     []*replica // other sources
	request  app.Request
	mustBe   string // why it has to be refused; "": it has not to be
	mayBe    string // why it may be refused
	deleted  string // a snapshot of the source that is deleted meanwhile

	was    map[*replica]map[string]shot // before it: of the sources, by UUID
	left   map[string]shot              // before it: of the destination
	over   chan struct{}
	report app.Report
	err    error
}

// trouble is what happens meanwhile.
type trouble struct {
	any    bool // of that kind that a rebuild may fail for
	untidy bool // some of it keeps a clean-up from its work
	others bool // another process does the same
	tidied bool // somebody collects garbage
	frozen bool // a snapshot is taken of another volume
	later  []func()
	then   []func() // when all has ended
}

func (w *world) rebuildInPeace(r *rand.Rand) {
	all := w.choose(r, 3)
	if len(all) == 0 {
		return
	}
	w.rebuild(all)
}

func (w *world) rebuildInTrouble(r *rand.Rand) {
	all := w.choose(r, 4)
	if len(all) == 0 {
		return
	}
	var t trouble
	for range 1 + r.IntN(2) {
		w.stir(r, all, &t)
	}
	w.run(w.engine, all, t)
	if !w.engine.live() && r.IntN(2) == 0 {
		// What the dead one has asked for may still go on, and take effect when it
		// is not expected any more. The end of the history finds out whether all can
		// be put right.
		w.say("a new engine does the same at once")
		w.faults.Store(0)
		for _, s := range w.sites {
			s.calmDown()
			s.resume()
		}
		w.engine = w.newProcess(w.limits)
		for i, a := range all {
			again := *a
			all[i] = &again
		}
		w.untidySites()
		w.run(w.engine, all, trouble{})
		t = trouble{any: true, others: t.others, tidied: t.tidied, later: t.later, then: t.then}
	}
	w.judge(all, t)
}

// choose draws what is rebuilt from what, and how.
func (w *world) choose(r *rand.Rand, most int) []*attempt {
	var lostOnes []*replica
	for _, v := range w.volumes {
		if isServing(v) {
			lostOnes = append(lostOnes, v.in(lost)...)
		}
	}
	if len(lostOnes) == 0 {
		w.say("there is nothing to rebuild")
	}
	var all []*attempt
	for _, to := range some(r, lostOnes, 1+r.IntN(most)) {
		all = append(all, w.plan(r, to))
	}
	return all
}

func (w *world) plan(r *rand.Rand, to *replica) *attempt {
	v := to.of
	a := &attempt{to: to}
	if healthy := v.in(whole); len(healthy) > 0 && (r.IntN(6) > 0 || len(v.in(hurt)) == 0) {
		a.from = pick(r, healthy)
	} else {
		a.from = pick(r, v.in(hurt))
	}
	if r.IntN(3) == 0 {
		others := slices.DeleteFunc(v.serving(), func(other *replica) bool { return other == a.from })
		a.more = some(r, others, len(others))
	}
	a.request = app.Request{
		Volume: v.name, Image: v.imageSaid(), Parallel: 1 + r.IntN(4), Proof: r.IntN(2) == 0, Views: r.IntN(4) == 0,
		Options: domain.Options{Full: r.IntN(6) == 0},
	}
	if r.IntN(3) > 0 {
		a.request.Journal = w.journal
	}
	if r.IntN(5) == 0 {
		a.request.Bandwidth = append(a.request.Bandwidth, app.NewBandwidth([]uint64{0, 5_000, 50_000}[r.IntN(3)]))
	}
	store := a.from.at.list()
	if a.from.state == whole && len(a.more) == 0 && (v.image != nil || store.Records) && r.IntN(2) == 0 {
		a.request.Image = domain.Image{} // the source tells
	}
	if a.from.state == hurt {
		a.request.Options.AcceptHurtSource = r.IntN(3) > 0
		healthy := slices.ContainsFunc(a.more, func(other *replica) bool { return other.state == whole })
		switch {
		case healthy: // which is preferred
		case !a.request.Options.AcceptHurtSource:
			a.mustBe = "the source is hurt"
		case !v.image.on[to.at] && !slices.ContainsFunc(a.sources(), func(source *replica) bool { return v.image.on[source.at] }):
			a.mustBe = "the image is on no host"
		case !v.image.on[to.at] && len(a.more) > 0:
			a.mayBe = "the image is not on the primary's host"
		}
	}
	return a
}

// sources are all that it may read from.
func (a *attempt) sources() []*replica { return append([]*replica{a.from}, a.more...) }

// by is the request as a process makes it.
func (a *attempt) by(p *process) app.Request {
	request := a.request
	request.Source, request.Destination, request.MoreSources = p.at(a.from), p.at(a.to), nil
	for _, other := range a.more {
		request.MoreSources = append(request.MoreSources, p.at(other))
	}
	return request
}

// run has rebuilds made by a process, and what is to happen meanwhile.
func (w *world) run(p *process, all []*attempt, t trouble) {
	synctest.Wait()
	w.calm.Store(true) // for the photographs
	for _, a := range all {
		a.was, a.left = make(map[*replica]map[string]shot), a.to.at.photograph(a.to.isOf)
		for _, source := range a.sources() {
			a.was[source] = source.at.photograph(source.isOf)
		}
		a.request = a.by(p)
		a.over = make(chan struct{})
		w.say("%s from %v: image %v, parallel %d, full %v, accept hurt %v, journal %v, views %v", a.to, a.sources(), a.request.Image.Record(),
			a.request.Parallel, a.request.Options.Full, a.request.Options.AcceptHurtSource, a.request.Journal != nil, a.request.Views)
	}
	w.calm.Store(false)
	for _, a := range all {
		job, err := p.queue.Submit(ctx(), a.request)
		if err != nil {
			fail("submit %s: %v", a.to, err)
		}
		go func() {
			defer close(a.over)
			a.report, a.err = job.Wait(ctx())
		}()
	}
	for _, do := range t.later {
		go do()
	}
	for _, a := range all {
		w.finish(a.over, "the rebuild of "+a.to.String())
		w.say("%s: %s", a.to, oneLine(a.err))
	}
}

// sometime is a moment within a rebuild, the earlier ones more often.
func sometime(r *rand.Rand) time.Duration {
	return time.Duration(r.IntN(1000)) * []time.Duration{10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond}[r.IntN(4)]
}

// stir draws one thing that happens meanwhile.
func (w *world) stir(r *rand.Rand, all []*attempt, t *trouble) {
	a := pick(r, all)
	someSite := pick(r, []*replica{pick(r, a.sources()), a.to}).at
	calls := 1 + r.IntN(1+r.IntN(120))
	after := sometime(r)
	later := func(do func()) { t.later = append(t.later, func() { time.Sleep(after); do() }) }
	switch r.IntN(14) {
	case 0, 1, 2:
		w.say("%s is cancelled after %v", a.to, after)
		t.any = true
		later(func() {
			for _, job := range w.engine.queue.Jobs() {
				if s := job.Status(); s.Destination == a.to.name {
					job.Cancel()
				}
			}
		})
	case 3, 4:
		sent := r.IntN(3) > 0
		w.say("the engine dies at call %d, which was sent: %v", calls, sent)
		w.engine.dieSoon(calls, sent)
		t.any, t.untidy = true, true
	case 5:
		down := time.Duration(r.IntN(4)) * 2 * time.Second
		w.say("%s restarts at call %d, and is away for %v", someSite.name, calls, down)
		someSite.restartSoon(calls, down)
		t.any = true
	case 6:
		hangs := time.Duration(1+r.IntN(40)) * time.Second
		w.say("%s hangs at call %d for %v", someSite.name, calls, hangs)
		someSite.hangSoon(calls, hangs)
		t.any, t.untidy = true, true
	case 7:
		// Few enough that none fails for longer than is insisted.
		percent := []int64{1, 4, 10}[r.IntN(3)]
		w.faults.Store(percent)
		t.any = t.any || percent > 4
		w.say("%d %% of the calls fail", percent)
	case 8:
		s := pick(r, w.sites)
		p := w.engine
		if r.IntN(2) == 0 {
			p = w.newProcess(w.limits)
		}
		w.say("process %d collects the garbage of %s after %v", p.number, s.name, after)
		t.tidied = true
		later(func() { _, _ = p.engine.RemoveGarbage(ctx(), p.lines[s]) })
	case 9:
		p := w.newProcess(w.limits)
		w.say("process %d rebuilds %s, too, after %v", p.number, a.to, after)
		t.any, t.others = true, true
		a.mayBe = "another process is at it"
		request := a.by(p)
		over := make(chan struct{})
		later(func() {
			defer close(over)
			_, err := p.engine.Rebuild(ctx(), request)
			w.say("process %d: %s", p.number, oneLine(err))
		})
		t.later = append(t.later, func() { <-over })
	case 10:
		// Frozen once more, the same head under the same parent has the same name.
		users := slices.DeleteFunc(slices.Sorted(maps.Keys(a.from.snapshots)), system.MatchString)
		if len(users) > 0 && a.deleted == "" {
			w.deleteMeanwhile(pick(r, users), a.from, all, later)
		}
	case 11:
		w.snapshotMeanwhile(r, all, t, later)
	case 12:
		w.importMeanwhile(a, t, later)
	case 13:
		w.fillMeanwhile(r, a.to.at, all, t, later)
	}
}

// deleteMeanwhile deletes a snapshot of the source: what hangs on it takes over its
// clusters, and is not what was copied any more (rule 14).
func (w *world) deleteMeanwhile(name string, from *replica, all []*attempt, later func(func())) {
	w.say("snapshot %s of %s is deleted", name, from)
	for _, a := range all {
		if slices.Contains(a.sources(), from) {
			a.deleted = name
		}
	}
	p := w.engine
	later(func() {
		_, err := p.engine.DeleteSnapshot(ctx(), p.at(from), name)
		w.say("delete snapshot %s of %s: %s", name, from, oneLine(err))
	})
}

// snapshotMeanwhile takes a snapshot of a volume that is not rebuilt, maybe on the
// same hosts.
func (w *world) snapshotMeanwhile(r *rand.Rand, all []*attempt, t *trouble, later func(func())) {
	var others []*volume
	for _, v := range w.volumes {
		if isServing(v) && !slices.ContainsFunc(all, func(a *attempt) bool { return a.to.of == v }) {
			others = append(others, v)
		}
	}
	if len(others) == 0 || t.frozen {
		return
	}
	t.frozen = true
	v := pick(r, others)
	v.taken++
	name := fmt.Sprintf("m%d", v.taken)
	if _, taken := v.snapshots[name]; taken {
		return
	}
	w.say("snapshot %s of %s is taken", name, v.name)
	p := w.engine
	var changes []*changed
	for _, rep := range v.serving() {
		c := &changed{replica: rep}
		changes = append(changes, c)
		later(func() { _, c.err = p.engine.CreateSnapshot(ctx(), p.at(rep), name) })
	}
	t.then = append(t.then, func() {
		v.snapshots[name] = slices.Clone(v.head)
		w.settle(v, changes, func(r *replica) { r.snapshots[name] = true }, func(r *replica) { delete(r.snapshots, name) })
	})
}

// importMeanwhile imports the image that a rebuild may be bringing.
func (w *world) importMeanwhile(a *attempt, t *trouble, later func(func())) {
	i := a.to.of.image
	if i == nil || i.on[a.to.at] {
		return
	}
	w.say("%s is imported to %s", i.name, a.to.at.name)
	p := w.engine
	var err error
	later(func() { _, err = w.tryToBring(p, i, a.to.at) })
	t.then = append(t.then, func() {
		w.say("import %s to %s: %s", i.name, a.to.at.name, oneLine(err))
		_, i.on[a.to.at] = a.to.at.find(a.to.at.imageName(i))
		a.to.at.untidy = a.to.at.untidy || isUntidy(err)
	})
}

// fillMeanwhile takes the free space of the destination, but for a little.
func (w *world) fillMeanwhile(r *rand.Rand, s *site, all []*attempt, t *trouble, later func(func())) {
	left := uint64(r.IntN(12))
	w.say("%s fills up but for %d clusters", s.name, left)
	t.any = true
	for _, a := range all {
		if a.to.at == s {
			a.mayBe = "there is too little space"
		}
	}
	host := s.host
	filler, err := host.Create(ctx(), fmt.Sprintf("filler-%d", len(t.then)), storeClusters*clusterSize)
	if err != nil {
		fail("create what fills a store: %v", err)
	}
	later(func() {
		for at := uint64(0); at < storeClusters && s.free() > left; at++ {
			_ = host.WriteAt(filler, []byte{1}, at*clusterSize) // a copy may be faster
		}
	})
	t.then = append(t.then, func() {
		if err := host.Delete(ctx(), filler); err != nil {
			fail("what fills a store has changed: %v", err)
		}
	})
}

func (w *world) untidySites() {
	for _, s := range w.sites {
		s.untidy, s.late = true, true
	}
}

// judge looks at what rebuilds have made of the stores.
func (w *world) judge(all []*attempt, t trouble) {
	w.rest(t)
	for _, do := range t.then {
		do()
	}
	for _, a := range all {
		w.adopt(a)
	}
	for _, a := range all {
		w.judgeOne(a, t)
	}
	for _, a := range all {
		a.to.of.forget()
	}
}

// rest waits for the end of all that goes on.
func (w *world) rest(t trouble) {
	died := !w.engine.live()
	w.faults.Store(0)
	for _, s := range w.sites {
		s.calmDown()
		s.resume()
	}
	synctest.Wait()
	if t.others || len(t.later) > 0 {
		time.Sleep(time.Hour) // the others end, too
	}
	w.peace()
	if died || t.untidy {
		w.untidySites()
	}
}

var system = regexp.MustCompile(`^rebuild-[0-9a-f]{8}$`)

// adopt takes up what a rebuild may change beside its destination: one system
// snapshot of the source's head (rule 3), and the image that is brought (rule 9).
func (w *world) adopt(a *attempt) {
	v := a.from.of
	if v.image != nil {
		if _, there := a.to.at.find(a.to.at.imageName(v.image)); there {
			v.image.on[a.to.at] = true
		}
	}
	for _, source := range a.sources() {
		w.adoptFrom(a, source)
	}
}

func (w *world) adoptFrom(a *attempt, from *replica) {
	v := from.of
	for _, l := range from.at.list().Lvols {
		name, ok := strings.CutPrefix(l.Name, from.prefix())
		if ok && !from.snapshots[name] && system.MatchString(name) {
			w.say("%s was frozen as %s", from, name)
			for _, other := range v.in(whole) {
				if other.snapshots[name] && !slices.Equal(v.snapshots[name], v.head) {
					// Its head was frozen under that name before, and then written to;
					// that this one's snapshot was deleted meanwhile is the test's doing.
					w.say("%s has another snapshot of that name", other)
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

// isAmbiguous: of a snapshot "a-snap-s1" that is left of a replica without a head
// nobody can tell that it is not the snapshot s1 of another one, "…-snap-a".
func (w *world) isAmbiguous(r *replica) bool {
	return r.state != whole && slices.ContainsFunc(r.at.list().Lvols, func(l domain.Lvol) bool { return strings.HasPrefix(l.Name, r.prefix()+"a-snap-") })
}

func (w *world) judgeOne(a *attempt, t trouble) {
	if a.deleted == "" {
		for _, source := range a.sources() {
			w.checkSource(source, a.was[source], t)
		}
	}
	for n, told := range a.report.Sources {
		if told.State == app.SourceLost { // nobody tidies up there
			a.sources()[n].at.untidy = true
		}
	}
	to := a.to
	refused := isRefused(a.err) && a.report.Outcome == app.OutcomeRefused
	w.tally.step("rebuild " + string(a.report.Outcome))
	if a.err == nil {
		for _, s := range a.report.Plan.Steps {
			w.tally.step("plan: " + string(s.Action))
		}
	}
	switch {
	case a.mustBe != "" && !refused && !t.any:
		fail("the rebuild of %s was not refused, though %s: %v", to, a.mustBe, a.err)
	case refused && a.mustBe == "" && a.mayBe == "" && !w.isAmbiguous(to):
		fail("the rebuild of %s was refused without a cause: %v", to, a.err)
	case a.err != nil && !refused && !t.any:
		fail("the rebuild of %s failed without a cause: %v", to, a.err)
	case a.err == nil:
		if a.mustBe != "" {
			fail("the rebuild of %s succeeded, though %s", to, a.mustBe)
		}
		w.becomesWhole(a)
		if left := w.inFlight(to); left != "" && !t.others {
			fail("the rebuild of %s was complete, and %s is in flight", to, left)
		}
		if !t.others {
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
	_, isOld := a.left[head.UUID]
	switch {
	case t.others:
		if hasHead && !isOld {
			w.becomesWhole(a)
			to.untidy = true
		}
		return
	case refused && a.mustBe+a.mayBe != "":
		w.mustBeAsItWas(to, a.left, !t.tidied)
		return
	case hasHead && !isOld:
		// It failed after its work was done.
		w.becomesWhole(a)
		to.untidy = true
		return
	case hasHead:
		w.mustBeAsItWas(to, a.left, false)
	}
	if t.untidy || to.at.untidy {
		return
	}
	for _, l := range to.at.list().Lvols {
		if _, before := a.left[l.UUID]; to.fills(l.Name) && !before {
			fail("the rebuild of %s has left %s in flight, and does not say so: %v", to, l.Name, a.err)
		}
	}
}

// mustHaveClosed: a rebuild that is complete has left nothing open, nor has what
// died before it.
func (w *world) mustHaveClosed(a *attempt) {
	for _, one := range append(a.sources(), a.to) {
		s := one.at
		for _, o := range s.opened() {
			if o.Run.Replica == a.to.name && !s.untidy {
				fail("the rebuild of %s was complete, and on %s the %s is open", a.to, s.name, o.What)
			}
		}
	}
}

// becomesWhole: a replica with a head is whole, and has the snapshots of one of its
// sources.
func (w *world) becomesWhole(a *attempt) {
	wrong := ""
	for _, source := range a.sources() {
		said := w.isWholeAfter(a, source)
		if said == "" {
			return
		}
		wrong += said + "; "
	}
	fail("%s has a head, and yet %s (%s)", a.to, wrong, oneLine(a.err))
}

// isWholeAfter makes it a replica as the source is, and says what is wrong then.
func (w *world) isWholeAfter(a *attempt, source *replica) (wrong string) {
	a.to.state, a.to.snapshots, a.to.odd = whole, maps.Clone(source.snapshots), source.odd
	if a.deleted != "" {
		// It may have been deleted on the source after the last look, and with what
		// moved into the head then another rebuild may have frozen that.
		for name := range a.from.of.snapshots {
			if _, there := a.to.at.find(a.to.prefix() + name); name == a.deleted || system.MatchString(name) {
				if delete(a.to.snapshots, name); there {
					a.to.snapshots[name] = true
				}
			}
		}
	}
	return w.whatIsWrongWith(a.to)
}

// mustBeAsItWas: while the old head stands nothing of the replica has changed,
// but for the head's record.
func (w *world) mustBeAsItWas(r *replica, before map[string]shot, all bool) {
	now := r.at.photograph(r.isOf)
	for uuid, was := range before {
		if !all && r.fills(was.lvol.Name) {
			continue
		}
		is, ok := now[uuid]
		is.lvol.Record, was.lvol.Record = "", ""
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

// checkSource: the source is as it was, but that its head's own clusters may be
// in a system snapshot now (rule 3).
func (w *world) checkSource(from *replica, before map[string]shot, t trouble) {
	now := from.at.photograph(from.isOf)
	for uuid, was := range before {
		is, ok := now[uuid]
		switch {
		case !ok && t.tidied && from.fills(was.lvol.Name):
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

// rebuild rebuilds without any trouble.
func (w *world) rebuild(all []*attempt) {
	w.run(w.engine, all, trouble{})
	w.judge(all, trouble{})
}
