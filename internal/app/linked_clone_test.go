package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	// The replicas of vol-9. sourceName and copyName are linked clones of its snapshot daily.
	nineThere = "vol-9-r-0000000a"
	nineHere  = "vol-9-r-0000000b"

	entryPointThere = nineThere + "-clone-ep-daily"
	entryPointHere  = nineHere + "-clone-ep-daily"

	nineTree = "weekly 0=31 3=34\n  daily 1=32 7=38\n    head 2=33\n"

	// cloneTree hangs on the entry point.
	cloneTree = "image\n  s1 0=41\n    s2 4=45\n      head\n    s3 5=46\n"
)

// newCloneFixture has a linked clone on the source's host, and nothing of it on the
// destination's, which has the other replica of its source volume.
func newCloneFixture(t tester, flavour memory.Flavour) *fixture {
	b := newFixture(t, memory.Config{Flavour: flavour}, memory.Config{Flavour: flavour})
	there := newBuilder(t, b.source, nineThere, "").build(nineTree)
	newBuilder(t, b.destination, nineHere, "").build(nineTree)
	newBuilder(t, b.source, sourceName, makeEntryPoint(there, "daily")).build(cloneTree)
	return b
}

// makeEntryPoint makes one as Longhorn does: a clone of the snapshot, a snapshot of that.
func makeEntryPoint(of *builder, snapshot string) string {
	name := of.replica + "-clone-ep-" + snapshot
	on, err := of.Look(context.Background(), of.uuids[snapshot])
	require.NoError(of.t, err)
	clone := of.writable(name+"-tmp-head", on.UUID, int(on.Size/of.cluster))
	uuid, err := of.Seal(context.Background(), clone, name, ports.SealRecord{})
	require.NoError(of.t, err)
	return uuid
}

func named(t tester, host *memory.Host, name string) domain.Lvol {
	t.Helper()
	store, err := host.List(context.Background())
	require.NoError(t, err)
	at := slices.IndexFunc(store.Lvols, func(l domain.Lvol) bool { return l.Name == name })
	require.GreaterOrEqual(t, at, 0, "%s is not on %s", name, store.Name)
	return store.Lvols[at]
}

// requireRebuiltClone compares every view, and looks at the base without asking the domain.
func requireRebuiltClone(t tester, b *fixture) {
	t.Helper()
	s, d := list(t, b.source, sourceName), list(t, b.destination, copyName)
	require.Empty(t, d.InFlight)
	require.Len(t, d.Snapshots, len(s.Snapshots))
	for _, want := range s.Snapshots {
		got, ok := d.Snapshot(want.Name)
		require.True(t, ok)
		require.Equal(t, sha(t, b.source, want.Lvol.UUID), sha(t, b.destination, got.Lvol.UUID), want.Name)
	}
	require.NotNil(t, d.Head)
	require.Equal(t, sha(t, b.source, s.Head.UUID), sha(t, b.destination, d.Head.UUID), "the head")
	ancestor, _ := d.Snapshot("s1")
	entryPoint, daily := named(t, b.destination, entryPointHere), named(t, b.destination, nineHere+"-snap-daily")
	require.Equal(t, entryPoint.UUID, ancestor.Lvol.Parent, "the ancestor's parent")
	require.Equal(t, daily.UUID, entryPoint.Parent)
	require.Zero(t, entryPoint.Own.Count)
	require.True(t, entryPoint.ReadOnly)
}

func TestLinkedCloneIsRebuilt(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		for what, prepare := range map[string]func(b *fixture){
			"the entry point is missing": func(*fixture) {},
			"the entry point is there": func(b *fixture) {
				nine := newBuilder(t, b.destination, nineHere, "")
				nine.uuids["daily"] = named(t, b.destination, nineHere+"-snap-daily").UUID
				makeEntryPoint(nine, "daily")
			},
		} {
			t.Run(fmt.Sprintf("%v, %s", flavour, what), func(t *testing.T) {
				b := newCloneFixture(t, flavour)
				prepare(b)
				report, err := app.New(nil).Rebuild(context.Background(), b.request())
				require.NoError(t, err)
				require.Equal(t, domain.CloneBase("vol-9", "daily"), report.Plan.Base)
				requireRebuiltClone(t, b)
				if flavour == memory.Fork {
					require.Equal(t, "clone:vol-9@daily", list(t, b.destination, copyName).Head.Record)
				}
				again, err := app.New(nil).Rebuild(context.Background(), b.request())
				require.NoError(t, err)
				require.Equal(t, flavour == memory.Upstream, again.Plan.Changes(), "where nothing is proven all is copied again")
				requireRebuiltClone(t, b)
			})
		}
	}
}

// TestLostEntryPointIsGrafted: the destination's ancestor reads zeros in place of the
// source volume's bytes. Nothing is copied.
func TestLostEntryPointIsGrafted(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	_, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	ancestor, _ := list(t, b.destination, copyName).Snapshot("s1")
	require.NoError(t, b.destination.Graft(context.Background(), ancestor.Lvol.UUID, ""))
	report, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	require.Zero(t, report.Plan.CopiedClusters())
	requireRebuiltClone(t, b)
}

// TestEveryCallOfACloneRebuildFails fails each call to the destination once, for a passing
// and for a lasting reason, with and without its effect; then the next rebuild is whole.
func TestEveryCallOfACloneRebuildFails(t *testing.T) {
	lasting := errors.New("broken")
	for what, fault := range map[string]memory.Fault{
		"refused":              {Before: ports.ErrUnavailable},
		"lost answer":          {After: ports.ErrUnavailable},
		"refused, lasting":     {Before: lasting},
		"lost answer, lasting": {After: lasting},
	} {
		t.Run(what, func(t *testing.T) {
			for _, method := range []string{"create", "graft", "seal", "clone", "copy", "delete", "list", "look"} {
				for n := 1; ; n++ {
					ended := false
					synctest.Test(t, func(t *testing.T) {
						b := newCloneFixture(t, memory.Fork)
						rule := on(method).nth(n).gets(fault)
						inject(b.destination, rule)
						_, err := app.New(nil).Rebuild(t.Context(), b.request())
						if ended = rule.calls() < n; ended {
							return
						}
						if err == nil {
							requireRebuiltClone(t, b)
						}
						inject(b.destination)
						_, err = app.New(nil).Rebuild(t.Context(), b.request())
						require.NoError(t, err, "after %s %d", method, n)
						requireRebuiltClone(t, b)
					})
					if ended || t.Failed() {
						break
					}
				}
			}
		})
	}
}

// TestEntryPointThatVanishesIsMadeAgain: Longhorn's engine removes one that nothing is a
// clone of yet.
func TestEntryPointThatVanishesIsMadeAgain(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	removed := 0
	sealed := on("seal").of(entryPointHere)
	inject(b.destination, sealed, on("graft").after(sealed).once().does(func() {
		removed++
		require.NoError(t, b.destination.Delete(context.Background(), named(t, b.destination, entryPointHere).UUID))
	}))
	_, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	requireRebuiltClone(t, b)
}

// TestUnusedEntryPointVanishesBeforeHead: without snapshots, the head is the first clone, after
// everything else was verified.
func TestUnusedEntryPointVanishesBeforeHead(t *testing.T) {
	for n := 1; ; n++ {
		b := newFixture(t, memory.Config{}, memory.Config{})
		there := newBuilder(t, b.source, nineThere, "").build(nineTree)
		here := newBuilder(t, b.destination, nineHere, "").build(nineTree)
		unused := makeEntryPoint(here, "daily")
		newBuilder(t, b.source, sourceName, "").writable(sourceName, makeEntryPoint(there, "daily"), worldClusters)
		listed := on("list").nth(n).does(func() { _ = b.destination.Delete(context.Background(), unused) })
		inject(b.destination, listed)
		_, err := app.New(nil).Rebuild(context.Background(), b.request())
		require.NoError(t, err, "listing %d", n)
		require.Equal(t, named(t, b.destination, entryPointHere).UUID, list(t, b.destination, copyName).Head.Parent)
		if listed.calls() < n {
			require.Greater(t, n, 2, "it was listed for the plan and for the verification")
			return
		}
	}
}

// TestRepairMakesVanishedEntryPointAgain: Longhorn's engine removes the entry point between its
// seal and the graft onto it.
func TestRepairMakesVanishedEntryPointAgain(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	_, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	ancestor, _ := list(t, b.destination, copyName).Snapshot("s1")
	require.NoError(t, b.destination.Graft(context.Background(), ancestor.Lvol.UUID, ""))
	vanish := func() {
		require.NoError(t, b.destination.Delete(context.Background(), named(t, b.destination, entryPointHere).UUID))
	}
	vanish()
	grafts := on("graft").of("s1")
	inject(b.destination, grafts, on("graft").of("s1").upTo(2).does(vanish))
	report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: b.request().Destination})
	require.NoError(t, err)
	require.Equal(t, 3, grafts.calls())
	require.Len(t, report.Plan.Warnings, 1, "each warning once")
	requireRebuiltClone(t, b)

	require.NoError(t, b.destination.Graft(context.Background(), ancestor.Lvol.UUID, ""))
	inject(b.destination, on("graft").of("s1").does(vanish))
	report, err = app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: b.request().Destination})
	require.ErrorContains(t, err, "changed since the plan", "it is not made for ever")
	require.Equal(t, app.OutcomeFailed, report.Outcome)
}

// TestCreationMakesVanishedEntryPointAgain: the first time it vanishes, the second time another
// run makes it first.
func TestCreationMakesVanishedEntryPointAgain(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	nine := newBuilder(t, b.destination, nineHere, "")
	nine.uuids["daily"] = named(t, b.destination, nineHere+"-snap-daily").UUID
	inject(b.destination,
		on("clone").once().does(func() {
			require.NoError(t, b.destination.Delete(context.Background(), named(t, b.destination, entryPointHere).UUID))
		}),
		on("seal").nth(2).does(func() { makeEntryPoint(nine, "daily") }))
	at := app.Site{Host: b.destination, Replica: "vol-30-r-0000000b"}
	r, err := app.New(nil).CreateReplica(context.Background(), at, worldClusters*cluster, domain.CloneBase("vol-9", "daily"))
	require.NoError(t, err)
	require.Equal(t, "clone:vol-9@daily", r.ParentOf(*r.Head).String())
	require.Empty(t, r.InFlight)
}

// TestClonesOfOneSnapshotAtOnce: several rebuilds need the same entry point, which is not
// there yet.
func TestClonesOfOneSnapshotAtOnce(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	requests := []app.Request{b.request()}
	for n := range 3 {
		name := fmt.Sprintf("vol-%d", 20+n)
		newBuilder(t, b.source, name+"-r-0000000a", named(t, b.source, entryPointThere).UUID).build(cloneTree)
		request := b.request()
		request.Source.Replica, request.Destination.Replica = name+"-r-0000000a", name+"-r-0000000b"
		requests = append(requests, request)
	}
	engine := app.New(nil)
	failures := make([]error, len(requests))
	var all sync.WaitGroup
	for i, request := range requests {
		all.Go(func() { _, failures[i] = engine.Rebuild(context.Background(), request) })
	}
	all.Wait()
	require.NoError(t, errors.Join(failures...))
	requireRebuiltClone(t, b)
	store := list(t, b.destination, copyName).Store
	for _, request := range requests {
		ancestor, ok := list(t, b.destination, request.Destination.Replica).Snapshot("s1")
		require.True(t, ok)
		require.Equal(t, named(t, b.destination, entryPointHere).UUID, ancestor.Lvol.Parent)
	}
	require.Len(t, store.Lvols, 4+4*4, "vol-9's three and the entry point, and four volumes of four")
}

// TestCloneWaitsForItsSourceVolume: while the source volume's replica is rebuilt on the same
// host, the rebuild of its clone is refused, with the reason.
func TestCloneWaitsForItsSourceVolume(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	engine := app.New(nil)
	nine := b.request()
	nine.Source.Replica, nine.Destination.Replica, nine.Options.Full, nine.Base = nineThere, nineHere, true, domain.NoBase()
	var clone error
	inject(b.source, on("copy").once().does(func() { _, clone = engine.Rebuild(context.Background(), b.request()) }))
	_, err := engine.Rebuild(context.Background(), nine)
	require.NoError(t, err)
	require.ErrorIs(t, clone, app.ErrRefused)
	require.ErrorContains(t, clone, nineHere)
	_, err = engine.Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	requireRebuiltClone(t, b)
}

// TestSourceVolumeIsLeasedByItsClone: while a linked clone is rebuilt, nothing may change what
// it reads through.
func TestSourceVolumeIsLeasedByItsClone(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	engine := app.New(nil)
	nine := b.request()
	nine.Source.Replica, nine.Destination.Replica, nine.Options.Full, nine.Base = nineThere, nineHere, true, domain.NoBase()
	var rebuilt, deleted error
	sealed := on("seal").of(entryPointHere)
	inject(b.destination, sealed, on("graft").after(sealed).once().does(func() {
		_, rebuilt = engine.Rebuild(context.Background(), nine)
		_, deleted = engine.DeleteSnapshot(context.Background(), nine.Destination, "weekly")
		removed, err := engine.RemoveGarbage(context.Background(), b.destination)
		require.NoError(t, err)
		require.Empty(t, removed.Lvols)
	}))
	_, err := engine.Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	requireRebuiltClone(t, b)
	for _, refused := range []error{rebuilt, deleted} {
		require.ErrorIs(t, refused, app.ErrRefused)
		require.ErrorContains(t, refused, nineHere)
		require.ErrorContains(t, refused, copyName, "who holds it")
	}
}

func TestReplicaOfALinkedCloneIsCreated(t *testing.T) {
	b := newCloneFixture(t, memory.Fork)
	at := app.Site{Host: b.destination, Replica: "vol-30-r-0000000b"}
	r, err := app.New(nil).CreateReplica(context.Background(), at, worldClusters*cluster, domain.CloneBase("vol-9", "daily"))
	require.NoError(t, err)
	require.Equal(t, "clone:vol-9@daily", r.ParentOf(*r.Head).String())
	require.Equal(t, sha(t, b.destination, named(t, b.destination, nineHere+"-snap-daily").UUID), sha(t, b.destination, r.Head.UUID))
}
