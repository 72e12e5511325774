package app_test

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// outdatedNine is vol-9's replica on the destination: daily has missed a change, and so has
// hourly, whose own clusters are right.
const outdatedNine = "weekly 0=31 3=34\n  daily 1=32 7=39\n    hourly 4=40\n      head 2=33\n"

const currentNine = "weekly 0=31 3=34\n  daily 1=32 7=38\n    hourly 4=40\n      head 2=33\n"

// readClones are linked clones of vol-9's snapshots on the destination, with the views that
// they may have.
type readClones struct {
	*fixture
	old, right map[string]uint64 // hashes, by UUID of the lvol
}

// newReadClones has linked clones of weekly, which is kept, and of daily and hourly, which
// are replaced.
func newReadClones(t tester, flavour memory.Flavour) *readClones {
	b := newFixture(t, memory.Config{Flavour: flavour}, memory.Config{Flavour: flavour})
	c := &readClones{fixture: b, old: make(map[string]uint64), right: make(map[string]uint64)}
	there := newBuilder(t, b.source, nineThere, "").build(currentNine)
	here := newBuilder(t, b.destination, nineHere, "").build(outdatedNine)
	for i, snapshot := range []string{"weekly", "daily", "hourly"} {
		name := fmt.Sprintf("vol-2%d-r-0000000", i)
		newBuilder(t, b.source, name+"a", makeEntryPoint(there, snapshot)).build(cloneTree)
		newBuilder(t, b.destination, name+"b", makeEntryPoint(here, snapshot)).build(cloneTree)
		for _, lvol := range []string{name + "%s", name + "%s-snap-s1", name + "%s-snap-s3"} {
			ours := named(t, b.destination, fmt.Sprintf(lvol, "b"))
			c.old[ours.UUID] = hashed(t, b.destination, ours.UUID)
			c.right[ours.UUID] = hashed(t, b.source, named(t, b.source, fmt.Sprintf(lvol, "a")).UUID)
		}
	}
	return c
}

var hashSeed = maphash.MakeSeed()

// hashed hashes all bytes of an lvol. It is several times faster than SHA-256.
func hashed(t tester, host *memory.Host, uuid string) uint64 {
	t.Helper()
	view, _, err := host.View(uuid)
	require.NoError(t, err)
	var sum maphash.Hash
	sum.SetSeed(hashSeed)
	_, err = io.Copy(&sum, view)
	require.NoError(t, err)
	return sum.Sum64()
}

// request rebuilds vol-9's replica, from which the linked clones read.
func (c *readClones) request() app.Request {
	r := c.fixture.request()
	r.Source.Replica, r.Destination.Replica, r.Base = nineThere, nineHere, domain.NoBase()
	return r
}

// look reads every linked clone: it sees the old bytes or the right ones. It may be called by
// any goroutine, so it does not end the test.
func (c *readClones) look() {
	for uuid, old := range c.old {
		if is := hashed(c.t, c.destination, uuid); is != old && is != c.right[uuid] {
			c.t.Errorf("linked clone %s reads neither the old bytes nor the right ones", uuid)
		}
	}
}

// injectWhileReading also looks before each call to the destination.
func (c *readClones) injectWhileReading(rules ...*rule) {
	inject(c.destination, append([]*rule{on("").doesTo(func(memory.Call) { c.look() })}, rules...)...)
}

// requireReplaced expects that vol-9 is whole and that the linked clones read the right bytes.
func (c *readClones) requireReplaced() {
	c.t.Helper()
	requireEqualViews(c.t, c.fixture, nineThere, nineHere, false)
	for uuid, right := range c.right {
		require.Equal(c.t, right, hashed(c.t, c.destination, uuid))
	}
	for _, snapshot := range []string{"weekly", "daily", "hourly"} {
		entryPoint := named(c.t, c.destination, nineHere+"-clone-ep-"+snapshot)
		require.Equal(c.t, named(c.t, c.destination, nineHere+"-snap-"+snapshot).UUID, entryPoint.Parent)
		require.Zero(c.t, entryPoint.Own.Count)
	}
	for _, l := range listAll(c.t, c.destination) {
		require.NotContains(c.t, l.Name, "rebuilding")
	}
}

func TestSnapshotsAreReplacedUnderLinkedClones(t *testing.T) {
	c := newReadClones(t, memory.Fork)
	c.injectWhileReading()
	report, err := app.New(nil).Rebuild(context.Background(), c.request())
	require.NoError(t, err)
	require.Equal(t, app.OutcomeComplete, report.Outcome)
	c.requireReplaced()
	inject(c.destination)
	again, err := app.New(nil).Rebuild(context.Background(), c.request())
	require.NoError(t, err)
	require.False(t, again.Plan.Changes())
}

// The copies are compared byte for byte before any linked clone reads them.
func TestSpoiledCopyIsNotGivenToLinkedClones(t *testing.T) {
	for what, spoil := range map[string]memory.Spoil{"bytes": memory.SpoilBytes, "a cluster is missing": memory.SpoilLess} {
		t.Run(what, func(t *testing.T) {
			c := newReadClones(t, memory.Fork)
			c.injectWhileReading()
			inject(c.source, on("copy").once().gets(memory.Fault{Spoil: spoil}))
			_, err := app.New(nil).Rebuild(context.Background(), c.request())
			inject(c.source)
			c.look()
			if err != nil {
				_, err = app.New(nil).Rebuild(context.Background(), c.request())
				require.NoError(t, err)
			}
			c.requireReplaced()
		})
	}
}

func TestReplacementUnderLinkedClonesRefused(t *testing.T) {
	c := newReadClones(t, memory.Upstream)
	before := listAll(t, c.destination)
	_, err := app.New(nil).Rebuild(context.Background(), c.request())
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "does not rename snapshots")
	require.ErrorContains(t, err, "vol-20-r-0000000b")
	require.Equal(t, before, listAll(t, c.destination))
}

// TestEveryCallOfAReplacementFails fails each call to the destination, for a passing and for a
// lasting reason, with and without its effect, once and from then on; also, the target
// restarts. Linked clones are read before every call, and nothing is cleaned up that they read.
// The race detector sees a part; make test plays all of them without it.
func TestEveryCallOfAReplacementFails(t *testing.T) {
	lasting, step := errors.New("broken"), 1
	if raceDetector {
		step = 8
	}
	for what, one := range map[string]struct {
		fault memory.Fault
		stays bool
	}{
		"refused":                 {memory.Fault{Before: ports.ErrUnavailable}, false},
		"lost answer":             {memory.Fault{After: ports.ErrUnavailable}, false},
		"restart":                 {memory.Fault{Restart: true}, false},
		"refused, lasting":        {memory.Fault{Before: lasting}, false},
		"lost answer, lasting":    {memory.Fault{After: lasting}, false},
		"refused from then on":    {memory.Fault{Before: lasting}, true},
		"lost answer, and silent": {memory.Fault{After: lasting}, true},
	} {
		t.Run(what, func(t *testing.T) {
			for _, method := range []string{"create", "rename", "graft", "seal", "clone", "delete", "list", "look", "prove", ""} {
				for n := 1; ; n += step {
					ended := false
					synctest.Test(t, func(t *testing.T) {
						c := newReadClones(t, memory.Fork)
						rule := on(method).nth(n).gets(one.fault)
						if one.stays {
							rule.from(n)
						}
						c.injectWhileReading(rule)
						_, err := app.New(nil).Rebuild(t.Context(), c.request())
						c.look()
						if ended = rule.calls() < n; ended {
							return
						}
						if err == nil {
							c.requireReplaced()
						} else if !one.stays {
							require.NotErrorIs(t, err, app.ErrCleanUp, "linked clones read the snapshots that are left")
						}
						c.injectWhileReading()
						_, err = app.New(nil).Rebuild(t.Context(), c.request())
						require.NoError(t, err, "after %s %d", method, n)
						c.requireReplaced()
					})
					if ended || t.Failed() {
						break
					}
				}
			}
		})
	}
}

// TestGarbageCollectionKeepsSnapshotsSetAside: linked clones read through them.
func TestGarbageCollectionKeepsSnapshotsSetAside(t *testing.T) {
	c := newReadClones(t, memory.Fork)
	inject(c.destination, on("seal").from(2).fails(errors.New("broken")))
	_, err := app.New(nil).Rebuild(context.Background(), c.request())
	require.Error(t, err)
	require.NotErrorIs(t, err, app.ErrCleanUp)
	c.injectWhileReading()
	_, err = app.New(nil).RemoveGarbage(context.Background(), c.destination)
	require.NoError(t, err)
	aside := 0
	for _, l := range listAll(t, c.destination) {
		if strings.Contains(l.Name, "rebuilding") {
			aside++
		}
	}
	require.Equal(t, 2, aside, "the old daily and hourly")
	for uuid, old := range c.old {
		require.Equal(t, old, hashed(t, c.destination, uuid))
	}
	_, err = app.New(nil).Rebuild(context.Background(), c.request())
	require.NoError(t, err)
	c.requireReplaced()
}

// TestVanishedEntryPointIsNotMoved: Longhorn's engine removes one without linked clones.
func TestVanishedEntryPointIsNotMoved(t *testing.T) {
	c := newReadClones(t, memory.Fork)
	for _, name := range []string{"vol-21-r-0000000b", "vol-21-r-0000000b-snap-s3", "vol-21-r-0000000b-snap-s2", "vol-21-r-0000000b-snap-s1"} {
		l := named(t, c.destination, name)
		require.NoError(t, c.destination.Delete(context.Background(), l.UUID))
		delete(c.old, l.UUID)
		delete(c.right, l.UUID)
	}
	entryPoint := named(t, c.destination, nineHere+"-clone-ep-daily")
	inject(c.destination, on("graft").ofUUID(entryPoint.UUID).once().does(func() {
		require.NoError(t, c.destination.Delete(context.Background(), entryPoint.UUID))
	}))
	_, err := app.New(nil).Rebuild(context.Background(), c.request())
	require.NoError(t, err)
	requireEqualViews(t, c.fixture, nineThere, nineHere, false)
	c.look()
}
