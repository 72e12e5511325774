package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// TestRebuildEndsSoonAfterItsMirror has the mirror's host die at a call of the rebuild.
func TestRebuildEndsSoonAfterItsMirror(t *testing.T) {
	for _, at := range []struct {
		party  liveParty
		method string
	}{
		{partyMirror, "volume"},
		{partyMirror, "connect"},
		{partyMirror, "join"},
		{partyMember, "list"},
		{partyMember, "snapshot"},
		{partyMember, "copy"},
		{partyDestination, "graft-external"},
		{partyDestination, "seal"},
		{partyDestination, "rename"},
	} {
		t.Run(at.party.String()+" "+at.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				var died time.Time
				dies := onceAt(at.party, at.method, func() { died = time.Now(); b.mirror.Kill() })
				b.inject(func(_ int, c liveCall) memory.Fault { dies(c); return memory.Fault{} })
				r := b.request()
				r.Freezer = freezer.Func(b.mirror.Suspend, b.mirror.Resume)
				report, err := app.New(nil).RebuildOnline(t.Context(), r)
				t.Logf("%s: %v", time.Since(died), err)
				require.Error(t, err)
				require.Equal(t, at.method != "list" && at.method != "volume", report.Online.LastSeen, "after a change, it is asked once more")
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				require.False(t, died.IsZero())
				require.Less(t, time.Since(died), 10*time.Second)
			})
		})
	}
}

// TestRebuildEndsSoonAfterTargetOfItsRAID has the target of the RAID end in a freeze, or just after
// it. One that starts again has no RAID any more.
func TestRebuildEndsSoonAfterTargetOfItsRAID(t *testing.T) {
	for _, what := range []string{
		"home bdev_lvol_snapshot 1 rpc-target-dies-having-done-it lasting",
		"home bdev_null_create 1 rpc-target-dies",
		"home nvmf_subsystem_listener_set_ana_state 3 rpc-target-dies",
		"home nvmf_subsystem_listener_set_ana_state 3 rpc-target-dies-having-done-it lasting",
		"home bdev_lvol_get_fragmap 5 rpc-target-dies-having-done-it lasting",
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				injections, err := parseInjections(what)
				require.NoError(t, err)
				v := newLiveTargets(t, memory.Fork)
				defer v.end()
				began := time.Now()
				s, err := v.run(injections...)
				require.Error(t, err)
				require.Len(t, s.struck, 1)
				require.Less(t, time.Since(began), 10*time.Second, err)
			})
		})
	}
}
