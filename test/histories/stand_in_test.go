package histories

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// mayBeStandIn reports whether an lvol may be the stand-in of a head that an interrupted
// revert has left. While its replica has no head, the collection of garbage keeps it. A
// host without records cannot tell it from any other empty in-flight clone of a snapshot.
func (w *world) mayBeStandIn(s *target, l domain.Lvol) bool {
	rep, ok := w.filledBy(s, l.Name)
	if !ok || l.ReadOnly || l.Own.Count > 0 {
		return false
	}
	if _, hasHead := s.find(rep.name); hasHead {
		return false
	}
	store := s.list()
	if store.Records {
		return l.Record != ""
	}
	return slices.ContainsFunc(store.Lvols, func(other domain.Lvol) bool {
		return other.UUID == l.Parent && other.ReadOnly && rep.isOf(other.Name) && !rep.fills(other.Name)
	})
}

// filledBy returns the replica on the target that an in-flight lvol belongs to.
func (w *world) filledBy(s *target, name string) (*replica, bool) {
	for _, v := range w.volumes {
		for _, r := range v.replicas {
			if r.at == s && r.fills(name) {
				return r, true
			}
		}
	}
	return nil, false
}

// The engine dies while it reverts a replica: the old head and a stand-in for the new one
// are left. The stand-in is garbage until the old head is lost, too. Then it is all that
// keeps the size of the volume.
func TestCollectionKeepsStandInWithoutHead(t *testing.T) {
	for _, records := range []bool{true, false} {
		for _, headLost := range []bool{true, false} {
			t.Run(fmt.Sprintf("records %v, head lost %v", records, headLost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const bothFlavours = 50067 // a seed that has targets of both
					w := newWorld(bothFlavours, newCounters())
					defer w.end()
					if wrong := w.attempt(func() { w.collectAfterRevert(records, headLost) }); wrong != "" {
						t.Fatal(wrong)
					}
				})
			})
		}
	}
}

func (w *world) collectAfterRevert(records, headLost bool) {
	at := slices.IndexFunc(w.targets, func(s *target) bool { return s.list().Records == records })
	v := &volume{name: "vol-1", head: make(view, 2*perCluster), snapshots: make(map[string]view)}
	rep := &replica{of: v, name: "vol-1-r-00000001", at: w.targets[at], snapshots: make(map[string]bool)}
	v.replicas, w.volumes = []*replica{rep}, []*volume{v}
	if _, err := w.engine.engine.CreateReplica(ctx(), w.engine.at(rep), v.size(), domain.NoBase()); err != nil {
		fail("create %s: %v", rep, err)
	}
	if _, err := w.engine.engine.CreateSnapshot(ctx(), w.engine.at(rep), "s1"); err != nil {
		fail("take a snapshot of %s: %v", rep, err)
	}
	for calls := 1; w.inFlight(rep) == ""; calls++ {
		w.engine.dieSoon(calls, true)
		if _, err := w.engine.engine.Revert(ctx(), app.RevertRequest{Replica: w.engine.at(rep), Snapshot: "s1"}); err == nil {
			fail("no revert of %s has left a stand-in", rep)
		}
		w.quiesce()
	}
	head, ok := rep.at.find(rep.name)
	if !ok {
		fail("%s has no head", rep)
	}
	if headLost {
		if err := rep.at.host.Delete(ctx(), head.UUID); err != nil {
			fail("delete the head of %s: %v", rep, err)
		}
	}
	w.collect(rep.at)
	if left := w.inFlight(rep); (left != "") != headLost {
		fail("%s: %q is in flight after its garbage was collected; its head was lost: %v", rep, left, headLost)
	}
}
