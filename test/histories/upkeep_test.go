package histories

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// importImage imports a new image into a host, or one that another host has.
func (w *world) importImage(r *rand.Rand) {
	const most = 3
	var i *image
	if len(w.images) < most && (len(w.images) == 0 || r.IntN(2) == 0) {
		n := len(w.images) + 1
		i = &image{name: fmt.Sprintf("image-%d", n), uuid: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, w.seed&0xffffffffffff), on: make(map[*target]bool)}
		// Its last cluster may be partial, and a part of it is zeros.
		i.view = w.fresh(1 + r.IntN(5*perCluster))
		if r.IntN(2) == 0 && len(i.view) > perCluster {
			clear(i.view[:perCluster])
		}
		w.images = append(w.images, i)
	} else {
		i = pick(r, w.images)
	}
	var without []*target
	for _, s := range w.targets {
		if !i.on[s] {
			without = append(without, s)
		}
	}
	if len(without) == 0 {
		w.logf("%s is everywhere", i.name)
		return
	}
	s := pick(r, without)
	if r.IntN(3) > 0 {
		w.mustImport(i, s)
		return
	}
	w.startFaults([]int64{0, 5}[r.IntN(2)])
	if r.IntN(2) == 0 {
		w.engine.dieSoon(1+r.IntN(12), r.IntN(2) == 0)
	}
	report, err := w.tryImport(w.engine, i, s)
	died := !w.engine.disarm()
	w.quiesce()
	w.logf("%s to %s: %s", i.name, s.name, oneLine(err))
	if died || isUntidy(err) {
		s.untidy = true
	}
	if _, there := s.find(s.imageName(i)); there {
		i.on[s] = true
	} else if err == nil {
		fail("image %s was imported to %s, and is not there: %+v", i.name, s.name, report)
	}
}

func isUntidy(err error) bool { return errors.Is(err, app.ErrCleanUp) }

func (w *world) tryImport(p *process, i *image, s *target) (app.ImageReport, error) {
	content := i.view.bytes()
	return p.engine.ImportImage(ctx(), app.ImageRequest{
		Host: p.connections[s], Name: i.name, UUID: i.uuid, Content: bytes.NewReader(content), Size: uint64(len(content)),
	})
}

func (w *world) mustImport(i *image, s *target) {
	if _, err := w.tryImport(w.engine, i, s); err != nil {
		fail("import image %s to %s: %v", i.name, s.name, err)
	}
	i.on[s] = true
	w.logf("%s to %s", i.name, s.name)
}

// removeImage deletes an image without clones.
func (w *world) removeImage(r *rand.Rand) {
	type place struct {
		i *image
		s *target
	}
	var unused []place
	for _, i := range w.images {
		for _, s := range w.targets {
			l, there := s.find(s.imageName(i))
			if there && !slices.ContainsFunc(s.list().Lvols, func(other domain.Lvol) bool { return other.Parent == l.UUID }) {
				unused = append(unused, place{i, s})
			}
		}
	}
	if len(unused) == 0 {
		w.logf("all are in use")
		return
	}
	p := pick(r, unused)
	l, _ := p.s.find(p.s.imageName(p.i))
	if err := p.s.host.Delete(ctx(), l.UUID); err != nil {
		fail("remove image %s from %s: %v", p.i.name, p.s.name, err)
	}
	p.i.on[p.s] = false
	w.logf("%s from %s", p.i.name, p.s.name)
}

func (w *world) verifyImage(r *rand.Rand) {
	for _, s := range some(r, w.targets, len(w.targets)) {
		for _, i := range w.images {
			l, there := s.find(s.imageName(i))
			if !there || l.Image.Checksum == "" {
				continue
			}
			if _, err := w.engine.engine.VerifyImage(ctx(), w.engine.connections[s], i.name, "", nil); err != nil {
				fail("verify image %s on %s: %v", i.name, s.name, err)
			}
			w.logf("%s on %s", i.name, s.name)
			return
		}
	}
	w.logf("no host records a checksum")
}

// collectGarbage: afterwards nothing is in flight, except for lvols with clones, stand-ins
// of heads and leftovers of Longhorn's own rebuilds.
func (w *world) collectGarbage(r *rand.Rand) { w.collect(pick(r, w.targets)) }

func (w *world) collect(s *target) {
	removed, err := w.engine.engine.RemoveGarbage(ctx(), w.engine.connections[s])
	if err != nil {
		fail("collect the garbage of %s: %v", s.name, err)
	}
	w.logf("%s: %d lvols, %d open things", s.name, len(removed.Lvols), len(removed.Opened))
	lvols := s.list().Lvols
	for _, l := range lvols {
		used := slices.ContainsFunc(lvols, func(other domain.Lvol) bool { return other.Parent == l.UUID })
		if isInFlight(l.Name) && !used && !w.mayBeStandIn(s, l) {
			fail("%s: %s is in flight after its garbage was collected", s.name, l.Name)
		}
	}
	if opened := s.opened(); len(opened) > 0 {
		fail("%s: %v is open after its garbage was collected", s.name, opened)
	}
	s.untidy = false
}

// auditVolume: an audit finds the replicas that are hurt in the model, and no violations of
// those that are complete and equal.
func (w *world) auditVolume(r *rand.Rand) {
	v, ok := w.pickVolume(r, isServing)
	if !ok {
		return
	}
	w.auditOne(v)
}

func (w *world) auditOne(v *volume) {
	serving := v.serving()
	request := app.AuditRequest{Base: v.base()}
	for _, rep := range serving {
		request.Sites = append(request.Sites, w.engine.at(rep))
	}
	report, err := w.engine.engine.Audit(ctx(), request)
	if err != nil {
		fail("audit %s: %v", v.name, err)
	}
	if len(report.Unclear) > 0 || len(report.Volumes) != 1 || len(report.Volumes[0].Replicas) != len(serving) {
		fail("audit %s: %+v", v.name, report)
	}
	equal := true
	for n, rep := range serving {
		equal = equal && maps.Equal(rep.snapshots, serving[0].snapshots) && rep.state == complete && !rep.odd
		equal = equal && (v.origin == nil || v.origin.isEqual(rep.at, serving[0].at))
		said, wrongEntryPoints := "", make(map[string]bool)
		for _, violation := range report.Volumes[0].Replicas[n].Violations {
			if violation.Rule == domain.RuleInFlight && rep.untidy {
				continue
			}
			if violation.Rule == domain.RuleEntryPoint {
				wrongEntryPoints[violation.Subject] = true
				continue
			}
			said += violation.String() + "; "
		}
		if want := w.wrongEntryPoints(rep); !maps.Equal(want, wrongEntryPoints) {
			fail("audit %s: %s has wrong entry points: %v, but the audit reports: %v", v.name, rep, want, wrongEntryPoints)
		}
		hurtOne := strings.Contains(said, domain.RuleAncestorParent) || !v.hasImage(rep.at) && rep.state == hurt && said != ""
		switch {
		case rep.state == complete && said != "":
			fail("audit %s: %s is complete, but the audit reports: %s", v.name, rep, said)
		case rep.state == hurt && !hurtOne:
			fail("audit %s: %s is hurt, but the audit reports only: %s", v.name, rep, said)
		}
		w.logf("%s, %s: %s", rep, rep.state, said)
	}
	differences := slices.DeleteFunc(report.Volumes[0].Differences, func(d domain.Difference) bool { return isAboutTime(d.Rule) })
	if equal && len(differences) > 0 {
		fail("audit %s: all replicas are complete and have the same snapshots, but the audit reports: %v", v.name, differences)
	}
}

// Replicas with equal bytes may record different times of a snapshot: each was taken
// separately, and one that was rebuilt from a host without records has none.
func isAboutTime(rule string) bool { return rule == domain.RuleAttributes }

func (v *volume) hasImage(s *target) bool { return v.image != nil && v.image.on[s] }

// repairReplica: a repair makes a hurt replica complete without a copy.
func (w *world) repairReplica(r *rand.Rand) {
	v, ok := w.pickVolume(r, func(v *volume) bool { return len(v.in(hurt)) > 0 })
	if !ok {
		return
	}
	w.repairOne(pick(r, v.in(hurt)), r.IntN(2) == 0)
}

func (w *world) repairOne(rep *replica, compare bool) {
	v := rep.of
	entryPoint := rep.rightRoot()
	request := app.RepairRequest{Replica: w.engine.at(rep), Base: v.base()}
	var healthy *replica
	if all := v.in(complete); compare && len(all) > 0 {
		healthy = all[0]
		request.Healthy = w.engine.at(healthy)
	}
	report, err := w.engine.engine.Repair(ctx(), request)
	w.logf("%s: %s", rep, oneLine(err))
	switch {
	case v.image != nil && !v.image.on[rep.at]:
		if !isRefused(err) {
			fail("repair %s, whose image is not on the host: %v", rep, err)
		}
	case v.origin != nil && !v.origin.isOn(rep.at):
		if !isRefused(err) {
			fail("repair %s, whose base is not on the host: %v", rep, err)
		}
	case v.origin != nil && v.origin.at(rep.at).state == lost && isRefused(err): // it has to be rebuilt first
	case isRefused(err) && rep.mustBeRepairedLater():
	case err != nil:
		fail("repair %s: %v", rep, err)
	default:
		rep.state = complete
		if v.origin != nil {
			w.entryPointIsCured(rep.at, entryPoint)
		}
		rep.untidy = w.inFlight(rep) != ""
		wrong := slices.DeleteFunc(report.Violations, func(v domain.Violation) bool {
			return isAboutTime(v.Rule) || v.Rule == domain.RuleInFlight || v.Rule == domain.RuleEntryPoint // of its linked clones
		})
		if report.Compared && len(wrong) > 0 && maps.Equal(rep.snapshots, healthy.snapshots) && !rep.odd && !healthy.odd &&
			(v.origin == nil || v.origin.isEqual(rep.at, healthy.at)) {
			fail("repair %s: the verification reports: %v", rep, wrong)
		}
	}
}

// restoreAll repairs or rebuilds all replicas, without disturbances: that is always
// possible, and leaves nothing in flight.
func (w *world) restoreAll() {
	r := rand.New(rand.NewPCG(w.seed, 1<<62))
	w.step = -1
	w.mu.Lock()
	w.log, w.trace = append(w.log, "      in the end"), nil
	w.mu.Unlock()
	for _, v := range slices.Backward(w.volumes) { // linked clones first
		for _, rep := range v.in(hurt) {
			if v.image != nil && !v.image.on[rep.at] {
				w.mustImport(v.image, rep.at)
			}
			w.repairOne(rep, true)
		}
	}
	for _, v := range w.volumes {
		for _, rep := range v.in(lost) {
			if isServing(v) {
				w.rebuild([]*rebuildRun{w.plan(r, rep)})
			}
		}
	}
	for _, s := range w.targets {
		w.collect(s)
		s.host.Restart() // lists hidden lvols again
		if s.late {
			w.collect(s)
		}
	}
	w.clearUntidy()
	w.quiesce()
	w.check()
	for _, v := range w.volumes {
		w.auditOne(v)
		w.rebuildTwice(r, v)
	}
	w.check()
}

// clearUntidy: nothing may be in flight any more.
func (w *world) clearUntidy() {
	for _, v := range w.volumes {
		for _, rep := range v.replicas {
			rep.untidy = false
		}
	}
}

// rebuildTwice rebuilds a complete replica twice: the second time nothing is copied if
// both hosts prove. (The first time may correct attributes that a replica has lost because
// it was rebuilt from a host without records.)
func (w *world) rebuildTwice(r *rand.Rand, v *volume) {
	serving := v.in(complete) // linked clones may be hurt still
	if len(serving) < 2 {
		return
	}
	a := w.plan(r, serving[1])
	a.source, a.moreSources, a.mustRefuse, a.mayRefuse, a.request.Base, a.request.Options = serving[0], nil, "", "", v.base(), domain.Options{}
	w.planClone(a)
	w.rebuild([]*rebuildRun{a})
	if a.err != nil || !a.source.at.list().Proves || !a.destination.at.list().Proves {
		return
	}
	w.rebuild([]*rebuildRun{a})
	if a.report.CopiedBytes > 0 {
		for _, s := range a.report.Plan.Steps {
			w.logf("%s %s: %s", s.Action, s.Snapshot, s.Reason)
		}
		fail("%s was just rebuilt from %s, and yet %d bytes were copied", a.destination, a.source, a.report.CopiedBytes)
	}
}
