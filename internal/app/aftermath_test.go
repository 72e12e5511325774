package app_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// This file is what must hold after a rebuild that something befell. None of it
// asks the domain whether a replica is right: bytes and parents are compared here.

// lvolState is all that can be seen of an lvol by itself.
type lvolState struct {
	lvol domain.Lvol
	own  uint64 // a sum over its own clusters, bytes and places
}

// storeState is a store at a moment, by lvol name.
type storeState map[string]lvolState

var sumSeed = maphash.MakeSeed()

// newStoreState sums up the own clusters of each lvol.
func newStoreState(lvols []domain.Lvol, clusters func(uuid string) memory.Clusters) storeState {
	all := make(storeState, len(lvols))
	for _, l := range lvols {
		var sum maphash.Hash
		sum.SetSeed(sumSeed)
		own := clusters(l.UUID)
		for _, at := range own.Positions {
			sum.Write(binary.LittleEndian.AppendUint64(nil, at))
			own.Sum(at, &sum)
		}
		all[l.Name] = lvolState{l, sum.Sum64()}
	}
	return all
}

// environment is two hosts that rebuilds are played on, as they can be seen from below.
type environment interface {
	cluster() uint64
	store(side string) (domain.Listing, storeState)
	opened(side string) []ports.Opened // by runs
	sent() (bytes uint64, known bool)  // from host to host so far
	view(side, uuid string) []byte     // of an lvol of the volume's length

	// engine is a request to an engine that has just begun, and how to end that.
	engine() (request app.Request, end func())

	// requireEqual compares all views of both replicas.
	requireEqual(image bool)
}

// memoryEnvironment is a stage of memory hosts.
type memoryEnvironment struct {
	*fixture
	request app.Request
}

func (m memoryEnvironment) cluster() uint64      { return cluster }
func (m memoryEnvironment) sent() (uint64, bool) { return m.source.Sent(), true }
func (m memoryEnvironment) engine() (app.Request, func()) {
	return verifyCounts.of(m.request), func() {}
}

func (m memoryEnvironment) view(side, uuid string) []byte {
	view := make([]byte, worldClusters*cluster)
	require.NoError(m.t, m.host(side).ReadAt(uuid, view, 0))
	return view
}

func (m memoryEnvironment) requireEqual(image bool) {
	requireEqualViews(m.t, m.fixture, sourceName, copyName, image)
}

func (m memoryEnvironment) host(side string) *memory.Host {
	if side == "source" {
		return m.source
	}
	return m.destination
}

func (m memoryEnvironment) store(side string) (domain.Listing, storeState) {
	host := m.host(side)
	store, err := host.List(context.Background())
	require.NoError(m.t, err)
	return store, newStoreState(store.Lvols, memory.BlobstoreOf(host).Clusters)
}

func (m memoryEnvironment) opened(side string) []ports.Opened {
	opened, err := m.host(side).Opened(context.Background())
	require.NoError(m.t, err)
	return opened
}

// parent is the name of what an lvol hangs on, "" for nothing.
func (a storeState) parent(f lvolState) string {
	for name, other := range a {
		if other.lvol.UUID == f.lvol.Parent {
			return name
		}
	}
	return ""
}

// hasUUID reports whether there is an lvol of that UUID.
func (a storeState) hasUUID(uuid string) bool {
	for _, f := range a {
		if f.lvol.UUID == uuid {
			return true
		}
	}
	return false
}

// snapshots are those of a replica, by their short names.
func (a storeState) snapshots(replica string) map[string]lvolState {
	all := make(map[string]lvolState)
	for name, f := range a {
		if short, ok := strings.CutPrefix(name, replica+"-snap-"); ok {
			all[short] = f
		}
	}
	return all
}

// identical reports whether a snapshot is the other's copy, wherever it hangs.
func (a *aftermath) identical(s, d lvolState) bool {
	return s.own == d.own && a.alike(s, d)
}

// alike is identical but for the bytes: a copy that was spoiled is so, too.
func (a *aftermath) alike(s, d lvolState) bool {
	return d.lvol.ReadOnly && d.lvol.Size == s.lvol.Size && d.lvol.Own.Count == s.lvol.Own.Count && d.lvol.Record == "" &&
		d.lvol.Attributes == a.attributes(s) && d.lvol.Image == a.imageRecord(s)
}

// attributes are those of a snapshot's copy. Of what no host records, its name tells
// whether a user has made it.
func (a *aftermath) attributes(s lvolState) domain.Attributes {
	_, image := domain.ImageOfLvolName(s.lvol.Name, a.sourceUUID)
	switch {
	case a.flavour.destination != memory.Fork:
		return domain.Attributes{}
	case a.flavour.source != memory.Fork && !image:
		return domain.Attributes{UserCreated: !frozenHead.MatchString(s.lvol.Name)}
	}
	return s.lvol.Attributes
}

func (a *aftermath) imageRecord(s lvolState) domain.ImageRecord {
	if a.flavour.destination != memory.Fork {
		return domain.ImageRecord{}
	}
	return s.lvol.Image
}

// aftermath is a rebuild that something befell, and what was there before.
type aftermath struct {
	t       tester
	world   faultScenario
	flavour flavours
	stage   environment

	uuid, sourceUUID string // of the stores

	sourceBefore, before storeState // before the first run

	struck []injection
	blind  bool            // something was spoiled that this verification does not find
	spoilt map[string]bool // what was spoiled, found or not, by its name on the source: its copy may be wrong
	read   bool            // views were compared, and the image's bytes before its seal
	err    error
	left   bool // something may have been left in flight by now
	image  bool // an image in flight may have been left
	helper bool // a helper was left on the source

	clones map[string]cloneViews // by UUID

	earlier storeState // of the destination after the run before
	again   bool       // the last run was planned again

	// loosens: where snapshots are sealed beside each other, one can be that hangs on
	// one whose own seal has failed at its end; planned again, that one is copied anew
	// and the other, which is proven, set loose meanwhile.
	loosens bool
}

func newAftermath(t tester, p trial, on environment) *aftermath {
	a := &aftermath{t: t, world: p.world, flavour: p.flavours, stage: on, loosens: p.parallel > 1, spoilt: make(map[string]bool)}
	store, before := on.store("source")
	a.sourceUUID, a.sourceBefore = store.UUID, before
	store, before = on.store("destination")
	a.uuid, a.before = store.UUID, before
	a.findClones()
	return a
}

func (a *aftermath) now() (source, destination storeState) {
	_, source = a.stage.store("source")
	_, destination = a.stage.store("destination")
	return source, destination
}

// look takes up how a run ended.
func (a *aftermath) look(s *injector, v verification, err error) {
	a.struck, a.err = append(a.struck, s.struck...), err
	a.again = len(s.again) > 0
	a.plannedAgain(s)
	a.read = v == verifyViews
	for _, name := range s.spoilt {
		a.spoilt[name] = true
	}
	for _, one := range s.struck {
		a.blind = a.blind || !one.found(v, a.flavour)
	}
}

// plannedAgain: an answer that is lost once, or a call that works when it is made
// again, changes nothing that the plan was made for. And nothing is said to be gone
// that was there.
func (a *aftermath) plannedAgain(s *injector) {
	gone := func(one injection) bool { return strings.Contains(one.kind.name, "not-found") }
	if !slices.ContainsFunc(a.struck, gone) {
		require.NotContains(a.t, strings.Join(s.again, "\n"), "the source's snapshot is gone")
	}
	if len(s.struck) == 1 && s.struck[0].passesUnseen() {
		require.Empty(a.t, s.again, "planned again")
	}
}

// mayLeave reports whether a run may have left something in flight: somebody died
// who could have cleaned up, a host said of what was to be deleted that there is
// nothing, the error tells, or it is the helper of an adapter whose target refused
// or did not answer from then on, which the adapter logs.
func (a *aftermath) mayLeave() bool {
	for _, one := range a.struck {
		switch {
		case one.kind.ends == endEngine,
			one.kind.name == "not-found" && one.method == "delete",
			one.kind.name == "rpc-not-found",
			one.kind.ofCalls() && a.err != nil && (one.lasts || one.kind.ends == endHang):
			return true
		}
	}
	return errors.Is(a.err, app.ErrCleanUp)
}

// check checks all rules that hold at any moment.
func (a *aftermath) check() {
	if a.mayLeave() {
		a.left, a.image = true, true // rule 9: other runs leave the image alone
	}
	source, destination := a.now()
	a.sourceIsUntouched(source)
	a.othersAreUntouched(destination)
	a.nothingIsForged(source, destination)
	a.headImpliesCompleteReplica(source, destination)
	a.nothingIsLeftInFlight(destination)
	a.clonesReadOldOrRight()
	a.earlier = destination
}

var frozenHead = regexp.MustCompile(`^` + sourceName + `-snap-rebuild-[0-9a-f]{8}$`)

// Rule 3: the source has at most one snapshot more, which holds what its head had.
func (a *aftermath) sourceIsUntouched(now storeState) {
	head := a.sourceBefore[sourceName]
	for name, f := range now {
		was, there := a.sourceBefore[name]
		switch {
		case there && name == sourceName:
			if f != was {
				require.Zero(a.t, f.lvol.Own.Count, "the source's head")
				require.Regexp(a.t, frozenHead, now.parent(f), "the source's head")
				was.lvol.Parent, was.lvol.Own = f.lvol.Parent, f.lvol.Own
				require.Equal(a.t, was.lvol, f.lvol, "the source's head")
			}
		case there:
			require.Equal(a.t, was, f, "lvol %s of the source", name)
		case a.isHelper(name, f):
			// The clone that wakes a sleeping snapshot: rule 3.
		default:
			require.Regexp(a.t, frozenHead, name, "something is new on the source")
			require.Equal(a.t, head.own, f.own, "the frozen head")
			require.Equal(a.t, head.lvol.Parent, f.lvol.Parent, "the frozen head")
		}
	}
	for name := range a.sourceBefore {
		require.Contains(a.t, now, name, "lvol of the source")
	}
}

// isHelper reports whether it is an empty clone that a run may have left on the source.
func (a *aftermath) isHelper(name string, f lvolState) bool {
	of, inFlight := domain.ReplicaInFlight(name)
	refuses := slices.ContainsFunc(a.struck, func(s injection) bool { return s.side == "source" && s.lasts }) // the adapter logs that
	is := inFlight && of == sourceName && f.lvol.Own.Count == 0 && (a.err != nil || a.left || a.helper || refuses)
	a.helper = a.helper || is
	return is
}

// Rule 5: what is not the replica's is as it was.
func (a *aftermath) othersAreUntouched(now storeState) {
	for name, was := range a.before {
		if name != copyName && !strings.HasPrefix(name, copyName+"-") {
			require.Equal(a.t, was, now[name], "somebody else's lvol %s", name)
		}
	}
}

// Rules 4, 5 and 7: a snapshot that bears its final name was there before and has
// the bytes that it had, or it is the source's, and hangs where it should.
func (a *aftermath) nothingIsForged(source, destination storeState) {
	theirs := source.snapshots(sourceName)
	for name, f := range destination.snapshots(copyName) {
		if was, there := a.before[f.lvol.Name]; there && was.lvol.UUID == f.lvol.UUID {
			was.lvol.Parent = f.lvol.Parent
			require.Equal(a.t, was, f, "leftover snapshot %s", name)
			continue
		}
		s, known := theirs[name]
		require.True(a.t, known, "snapshot %s is new, and the source has none", name)
		require.True(a.t, a.identical(s, f) || a.spoilt[s.lvol.Name] && a.alike(s, f), "sealed snapshot %s is not the source's: %+v, %+v", name, f.lvol, s.lvol)
		if f.lvol.Parent == "" && a.mayBeLoose(source, s, f) {
			continue
		}
		require.Equal(a.t, a.rightParent(source, s), destination.parent(f), "the parent of sealed snapshot %s", name)
	}
	if f, there := destination[domain.ImageLvolName(imageName, a.uuid)]; there && a.world.absent {
		s := a.sourceImage(source)
		require.True(a.t, a.identical(s, f) || a.mayBeForged(s) && a.alike(s, f), "the image is not the source's: %+v, %+v", f.lvol, s.lvol)
		require.Empty(a.t, f.lvol.Parent, "the image's parent")
	}
}

// mayBeLoose: rule 4 lets a proven leftover have no parent until it is grafted. It has
// none if the run fails while it copies the leftover's parent again: one that an earlier
// plan has sealed with wrong bytes, for example.
func (a *aftermath) mayBeLoose(source storeState, s, f lvolState) bool {
	leftover := a.again || a.earlier.hasUUID(f.lvol.UUID)
	parent := source.parent(s)
	ofReplica := strings.HasPrefix(parent, sourceName+"-snap-")
	return a.err != nil && (a.loosens || leftover && ofReplica && a.spoilt[parent])
}

// mayBeForged: an image whose copy was spoiled is sealed where nothing tells its bytes:
// no host a checksum, and nobody has it read back.
func (a *aftermath) mayBeForged(image lvolState) bool {
	return a.spoilt[image.lvol.Name] && !a.flavour.prove() && !a.read
}

// rightParent is the name of the lvol that the copy of a lvol of the source's has
// to hang on: rules 1 and 2.
func (a *aftermath) rightParent(source storeState, s lvolState) string {
	for short, parent := range source.snapshots(sourceName) {
		if parent.lvol.UUID == s.lvol.Parent {
			return domain.SnapshotLvolName(copyName, short)
		}
	}
	if a.world.image == 0 {
		return ""
	}
	return domain.ImageLvolName(imageName, a.uuid)
}

func (a *aftermath) sourceImage(source storeState) lvolState {
	for name, f := range source {
		if strings.HasPrefix(name, "bi-"+imageName+"-disk-") {
			return f
		}
	}
	return lvolState{}
}

// A replica that has a head is whole. The old head is the first thing that goes.
func (a *aftermath) headImpliesCompleteReplica(source, destination storeState) {
	head, there := destination[copyName]
	if !there {
		return
	}
	if head.lvol.UUID == a.before[copyName].lvol.UUID {
		for name, was := range a.before {
			require.Equal(a.t, was, destination[name], "lvol %s has changed, and the old head stands", name)
		}
		return
	}
	theirs, ours := source.snapshots(sourceName), destination.snapshots(copyName)
	require.Len(a.t, ours, len(theirs), "there is a head")
	for name, s := range theirs {
		d, copied := ours[name]
		require.True(a.t, copied, "there is a head and no snapshot %s", name)
		require.True(a.t, a.identical(s, d) || a.blind && a.spoilt[s.lvol.Name] && a.alike(s, d), "there is a head, and snapshot %s is not the source's", name)
		require.Equal(a.t, a.rightParent(source, s), destination.parent(d), "there is a head; the parent of %s", name)
	}
	require.Equal(a.t, a.rightParent(source, source[sourceName]), destination.parent(head), "the head's parent")
	require.Zero(a.t, head.lvol.Own.Count, "the head's own clusters")
	require.Equal(a.t, source[sourceName].lvol.Size, head.lvol.Size, "the head's size")
	require.False(a.t, head.lvol.ReadOnly, "the head")
	require.Equal(a.t, a.headRecord(), head.lvol.Record, "what is recorded of the head")
	require.Zero(a.t, source[sourceName].lvol.Own.Count, "there is a head, and the source's was not frozen")
}

// headRecord is what a head says of its image.
func (a *aftermath) headRecord() string {
	switch {
	case a.flavour.destination != memory.Fork:
		return ""
	case a.world.image == 0:
		return domain.RecordNoBase
	}
	return imageName
}

// Who lives cleans up, or says that it could not.
func (a *aftermath) nothingIsLeftInFlight(now storeState) {
	if a.left {
		return
	}
	for name, f := range now {
		if a.before.hasUUID(f.lvol.UUID) {
			continue
		}
		if domain.IsImageInFlight(name) && a.image {
			continue
		}
		if a.err != nil && strings.Contains(a.err.Error(), name) {
			continue
		}
		_, inFlight := domain.ReplicaInFlight(name)
		require.False(a.t, inFlight || domain.IsImageInFlight(name), "%s is left, and the error does not say so: %v", name, a.err)
	}
	for _, side := range []string{"source", "destination"} {
		require.Empty(a.t, a.stage.opened(side), "the %s has something open, and the error does not say so: %v", side, a.err)
	}
}

// converge runs again, with nothing in the way: now all is right, and what could
// be proven was not copied again.
func (a *aftermath) converge() {
	source, destination := a.now()
	expected := a.missing(source, destination)
	began, _ := a.stage.sent()
	request, end := a.stage.engine()
	defer end()
	report := rebuildCleanly(a.t, request)
	require.Equal(a.t, expected, report.CopiedBytes, "bytes copied by the run after")
	if sent, known := a.stage.sent(); known {
		require.GreaterOrEqual(a.t, sent-began, expected, "bytes that crossed in the run after")
	}

	forged := a.imageIsForged()
	a.struck, a.blind, a.left, a.err = nil, false, false, nil
	if !forged {
		clear(a.spoilt)
	}
	a.check()
	if forged {
		a.forgeryIsFound(request, report)
		return
	}
	a.stage.requireEqual(a.world.image > 0)
	a.clonesReadRight()
	if a.flavour.prove() {
		plan, err := app.New(nil).Plan(context.Background(), request)
		require.NoError(a.t, err)
		require.Empty(a.t, plan.Operations, "there is still something to do")
	}
	a.garbageIsFound(request)
}

// imageIsForged: rule 9.
func (a *aftermath) imageIsForged() bool {
	source, destination := a.now()
	f, there := destination[domain.ImageLvolName(imageName, a.uuid)]
	return there && a.sourceImage(source).own != f.own
}

// forgeryIsFound: an image that no checksum tells anything of is known by its name and
// size alone. Every run says so, and one that reads views back does not complete.
func (a *aftermath) forgeryIsFound(request app.Request, report app.Report) {
	require.Contains(a.t, strings.Join(report.Notices, "\n"), "its bytes are unverified")
	a.garbageIsFound(request)
	request.Views = true
	report, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(a.t, err, ports.ErrCorrupt)
	require.NotEmpty(a.t, report.Violations)
	_, destination := a.now()
	require.NotContains(a.t, destination, copyName, "a head stands on an image that is another one")
}

// missing is how many bytes there are to copy: all that is not there already and
// provably the source's.
func (a *aftermath) missing(source, destination storeState) (bytes uint64) {
	there := destination.snapshots(copyName)
	for name, s := range source.snapshots(sourceName) {
		d, kept := there[name]
		kept = kept && a.flavour.prove() && a.identical(s, d) && a.staysUnderClones(source, destination, name)
		if !kept {
			bytes += s.lvol.Own.Count * a.stage.cluster()
		}
	}
	bytes += source[sourceName].lvol.Own.Count * a.stage.cluster() // it is frozen first
	if _, here := destination[domain.ImageLvolName(imageName, a.uuid)]; !here && a.world.image > 0 {
		bytes += uint64(a.world.image) * a.stage.cluster()
	}
	return bytes
}

// Rule 9: an image in flight may be another process' work. It is left alone by
// rebuilds, and found to be nobody's by who collects garbage. So is a helper on the
// source, where a rebuild deletes nothing.
func (a *aftermath) garbageIsFound(request app.Request) {
	for _, host := range []ports.Host{request.Source.Host, request.Destination.Host} {
		if a.image || a.helper {
			_, err := app.New(nil).RemoveGarbage(context.Background(), host)
			require.NoError(a.t, err)
		}
	}
	a.image, a.helper = false, false
	a.check()
}

// heals checks a run that one passing fault befell: it completes, and no more is
// copied than what the fault has cost.
func (a *aftermath) heals(one injection, parallel int, report app.Report, clean uint64) {
	require.NoError(a.t, a.err, "the fault passes")
	require.Equal(a.t, app.OutcomeComplete, report.Outcome)
	a.stage.requireEqual(a.world.image > 0)
	again := uint64(0)
	if one.method == "copy" || one.kind.ends == endTarget {
		again = uint64(parallel) * worldClusters * a.stage.cluster() // what was in flight, at most
	}
	if sent, known := a.stage.sent(); known {
		require.LessOrEqual(a.t, sent, clean+again, "bytes that crossed")
	}
}
