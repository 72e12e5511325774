package app_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// This file is what must hold after a rebuild that something befell. None of it
// asks the domain whether a replica is right: bytes and parents are compared here.

// frame is all that can be seen of an lvol by itself.
type frame struct {
	lvol domain.Lvol
	own  uint64 // a sum over its own clusters, bytes and places
}

// album is a store at a moment, by lvol name.
type album map[string]frame

var sumSeed = maphash.MakeSeed()

func takeAlbum(t tester, host *memory.Host) album {
	store, err := host.List(context.Background())
	require.NoError(t, err)
	below := memory.BlobstoreOf(host)
	all := make(album, len(store.Lvols))
	content := make([]byte, cluster)
	for _, l := range store.Lvols {
		var sum maphash.Hash
		sum.SetSeed(sumSeed)
		own := below.Clusters(l.UUID)
		for _, at := range own.Positions {
			own.Read(at, content)
			sum.Write(binary.LittleEndian.AppendUint64(nil, at))
			sum.Write(content)
		}
		all[l.Name] = frame{l, sum.Sum64()}
	}
	return all
}

// parent is the name of what an lvol hangs on, "" for nothing.
func (a album) parent(f frame) string {
	for name, other := range a {
		if other.lvol.UUID == f.lvol.Parent {
			return name
		}
	}
	return ""
}

// hasUUID reports whether there is an lvol of that UUID.
func (a album) hasUUID(uuid string) bool {
	for _, f := range a {
		if f.lvol.UUID == uuid {
			return true
		}
	}
	return false
}

// snapshots are those of a replica, by their short names.
func (a album) snapshots(replica string) map[string]frame {
	all := make(map[string]frame)
	for name, f := range a {
		if short, ok := strings.CutPrefix(name, replica+"-snap-"); ok {
			all[short] = f
		}
	}
	return all
}

// identical reports whether a snapshot is the other's copy, wherever it hangs.
func identical(s, d frame) bool {
	return s.own == d.own && s.lvol.Size == d.lvol.Size && d.lvol.ReadOnly
}

// aftermath is a rebuild that something befell, and what was there before.
type aftermath struct {
	t       tester
	world   faultWorld
	flavour flavours
	bench   *bench

	sourceBefore, before album // before the first run

	struck []strike
	blind  bool // something was spoiled that this verification does not find
	spoilt bool // something was spoiled, found or not: what was sealed by then may be wrong
	err    error
	image  bool // an image in flight may have been left
}

func newAftermath(t tester, w faultWorld, f flavours, b *bench) *aftermath {
	return &aftermath{t: t, world: w, flavour: f, bench: b, sourceBefore: takeAlbum(t, b.source), before: takeAlbum(t, b.destination)}
}

// look takes up how a run ended.
func (a *aftermath) look(s *saboteur, v verification, err error) {
	a.struck, a.err = append(a.struck, s.struck...), err
	for _, one := range s.struck {
		a.spoilt = a.spoilt || one.kind.spoils
		a.blind = a.blind || !one.found(v, a.flavour)
	}
}

// crashed reports whether somebody died or was cut off who could have cleaned up.
func (a *aftermath) crashed() bool {
	for _, one := range a.struck {
		if one.kind.ends == endEngine {
			return true
		}
	}
	return errors.Is(a.err, app.ErrCleanUp)
}

// check checks all rules that hold at any moment.
func (a *aftermath) check() {
	source, destination := takeAlbum(a.t, a.bench.source), takeAlbum(a.t, a.bench.destination)
	a.sourceIsUntouched(source)
	a.othersAreUntouched(destination)
	a.nothingIsForged(source, destination)
	a.aHeadStandsOnWhatIsWhole(source, destination)
	a.nothingIsLeftInFlight(destination)
}

var frozenHead = regexp.MustCompile(`^` + sourceName + `-snap-rebuild-[0-9a-f]{8}$`)

// Rule 3: the source has at most one snapshot more, which holds what its head had.
func (a *aftermath) sourceIsUntouched(now album) {
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

// Rule 5: what is not the replica's is as it was.
func (a *aftermath) othersAreUntouched(now album) {
	for name, was := range a.before {
		if name != copyName && !strings.HasPrefix(name, copyName+"-") {
			require.Equal(a.t, was, now[name], "somebody else's lvol %s", name)
		}
	}
}

// Rules 4, 5 and 7: a snapshot that bears its final name was there before and has
// the bytes that it had, or it is the source's, and hangs where it should.
func (a *aftermath) nothingIsForged(source, destination album) {
	theirs := source.snapshots(sourceName)
	for name, f := range destination.snapshots(copyName) {
		if was, there := a.before[f.lvol.Name]; there && was.lvol.UUID == f.lvol.UUID {
			was.lvol.Parent = f.lvol.Parent
			require.Equal(a.t, was, f, "leftover snapshot %s", name)
			continue
		}
		if a.spoilt {
			continue
		}
		s, known := theirs[name]
		require.True(a.t, known, "snapshot %s is new, and the source has none", name)
		require.True(a.t, identical(s, f), "sealed snapshot %s is not the source's", name)
		require.Equal(a.t, a.rightParent(source, s), destination.parent(f), "the parent of sealed snapshot %s", name)
	}
	image := domain.ImageLvolName(imageName, a.storeUUID())
	if f, there := destination[image]; there && !a.spoilt {
		require.True(a.t, identical(a.sourceImage(source), f), "the image is not the source's")
		require.Empty(a.t, f.lvol.Parent, "the image's parent")
	}
}

// rightParent is the name of the lvol that the copy of a lvol of the source's has
// to hang on: rules 1 and 2.
func (a *aftermath) rightParent(source album, s frame) string {
	for short, parent := range source.snapshots(sourceName) {
		if parent.lvol.UUID == s.lvol.Parent {
			return domain.SnapshotLvolName(copyName, short)
		}
	}
	if a.world.image == 0 {
		return ""
	}
	return domain.ImageLvolName(imageName, a.storeUUID())
}

func (a *aftermath) storeUUID() string {
	store, err := a.bench.destination.List(context.Background())
	require.NoError(a.t, err)
	return store.UUID
}

func (a *aftermath) sourceImage(source album) frame {
	for name, f := range source {
		if strings.HasPrefix(name, "bi-"+imageName+"-disk-") {
			return f
		}
	}
	return frame{}
}

// A replica that has a head is whole. The old head is the first thing that goes.
func (a *aftermath) aHeadStandsOnWhatIsWhole(source, destination album) {
	head, there := destination[copyName]
	if !there || a.blind {
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
		require.True(a.t, identical(s, d), "there is a head, and snapshot %s is not the source's", name)
		require.Equal(a.t, a.rightParent(source, s), destination.parent(d), "there is a head; the parent of %s", name)
	}
	require.Equal(a.t, a.rightParent(source, source[sourceName]), destination.parent(head), "the head's parent")
	require.Zero(a.t, head.lvol.Own.Count, "the head's own clusters")
	require.Zero(a.t, source[sourceName].lvol.Own.Count, "there is a head, and the source's was not frozen")
}

// Who lives cleans up, or says that it could not.
func (a *aftermath) nothingIsLeftInFlight(now album) {
	if a.crashed() {
		a.image = true // rule 9: other runs leave it alone
		return
	}
	for name, f := range now {
		if a.before.hasUUID(f.lvol.UUID) {
			continue
		}
		if domain.IsImageInFlight(name) && a.image {
			continue
		}
		_, inFlight := domain.ReplicaInFlight(name)
		require.False(a.t, inFlight || domain.IsImageInFlight(name), "%s is left, and the error does not say so: %v", name, a.err)
	}
	for side, host := range map[string]*memory.Host{"source": a.bench.source, "destination": a.bench.destination} {
		opened, err := host.Opened(context.Background())
		require.NoError(a.t, err)
		require.Empty(a.t, opened, "the %s has something open, and the error does not say so: %v", side, a.err)
	}
}

// converge runs again, with nothing in the way: now all is right, and what could
// be proven was not copied again.
func (a *aftermath) converge(request app.Request) {
	if a.imageIsForged() {
		return
	}
	source, destination := takeAlbum(a.t, a.bench.source), takeAlbum(a.t, a.bench.destination)
	expected := a.missing(source, destination)
	began := a.bench.source.Sent()
	report := rebuildCleanly(a.t, request)
	require.Equal(a.t, expected, report.CopiedBytes, "bytes copied by the run after")
	require.GreaterOrEqual(a.t, a.bench.source.Sent()-began, expected, "bytes that crossed in the run after")

	a.struck, a.blind, a.spoilt, a.err = nil, false, false, nil
	a.check()
	requireEqualViews(a.t, a.bench, sourceName, copyName, a.world.image > 0)
	requireNothingToDo(a.t, request, a.bench)
	a.imagesInFlightAreGarbage()
}

// imageIsForged: rule 9. An image that was fetched from or to a host that proves
// nothing is known by its size alone, and is not looked at again by rebuilds: that
// it differs, only "image verify" finds, or a user who has views compared.
func (a *aftermath) imageIsForged() bool {
	f, there := takeAlbum(a.t, a.bench.destination)[domain.ImageLvolName(imageName, a.storeUUID())]
	if !there || a.flavour.prove() || identical(a.sourceImage(takeAlbum(a.t, a.bench.source)), f) {
		return false
	}
	require.True(a.t, a.spoilt, "the image is not the source's, and no copy was spoiled")
	return true
}

// missing is how many bytes there are to copy: all that is not there already and
// provably the source's.
func (a *aftermath) missing(source, destination album) (bytes uint64) {
	there := destination.snapshots(copyName)
	for name, s := range source.snapshots(sourceName) {
		d, kept := there[name]
		kept = kept && a.flavour.prove() && identical(s, d) && s.lvol.Attributes.Equal(d.lvol.Attributes)
		if !kept {
			bytes += s.lvol.Own.Count * cluster
		}
	}
	bytes += source[sourceName].lvol.Own.Count * cluster // it is frozen first
	if _, here := destination[domain.ImageLvolName(imageName, a.storeUUID())]; !here && a.world.image > 0 {
		bytes += uint64(a.world.image) * cluster
	}
	return bytes
}

// Rule 9: an image in flight may be another process' work. It is left alone by
// rebuilds, and found to be nobody's by who collects garbage.
func (a *aftermath) imagesInFlightAreGarbage() {
	_, err := app.New(nil).RemoveGarbage(context.Background(), a.bench.destination)
	require.NoError(a.t, err)
	for name := range takeAlbum(a.t, a.bench.destination) {
		require.False(a.t, domain.IsImageInFlight(name), "%s is left", name)
	}
}

// heals checks a run that one passing fault befell: it completes, and no more is
// copied than what the fault has cost.
func (a *aftermath) heals(one strike, report app.Report, clean uint64) {
	require.NoError(a.t, a.err, "the fault passes")
	require.Equal(a.t, app.OutcomeComplete, report.Outcome)
	requireEqualViews(a.t, a.bench, sourceName, copyName, a.world.image > 0)
	again := uint64(0)
	if one.method == "copy" || one.kind.ends == endTarget {
		again = worldClusters * cluster // one snapshot, at most
	}
	require.LessOrEqual(a.t, a.bench.source.Sent(), clean+again, "bytes that crossed")
}

// runText is what a failure prints.
func runText(w faultWorld, f flavours, v verification, strikes ...strike) string {
	words := make([]string, len(strikes))
	for i, s := range strikes {
		words[i] = s.String()
	}
	return fmt.Sprintf("%s/%s/%s: %s", w.name, f, v, strings.Join(words, "; "))
}
