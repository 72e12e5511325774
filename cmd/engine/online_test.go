package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/spdkhost"
)

// liveVolume is a mirror over two members, and a destination with leftovers.
const liveVolume = `apiVersion: rebuild/v1
volume: {name: vol-1, size: 512KiB, clusterSize: 64KiB}
backingImage: {name: base, size: 256KiB, writes: [{offset: 0, length: 256KiB, seed: 1}]}
source:
  replica: vol-1-r-0a1b2c3d
  snapshots:
    - {name: snap11, writes: [{offset: 0, length: 64KiB, seed: 11}]}
    - {name: snap12, parent: snap11, writes: [{offset: 64KiB, length: 128KiB, seed: 12}]}
  head: {writes: [{offset: 0, length: 10, seed: 5}]}
destination:
  replica: vol-1-r-4e5f6a7b
  snapshots: [{name: snap11, like: source}]
  head: {}
online: {members: 2}
`

const (
	member1 = "unix:///a1.sock?lvs=disk-1&replica=vol-1-r-0a1b2c3d"
	member2 = "unix:///a2.sock?lvs=disk-3&replica=vol-1-r-3"
	joining = "unix:///b.sock?lvs=disk-2&replica=vol-1-r-4e5f6a7b"
	theRAID = "unix:///v.sock?raid=vol-1"
)

func online(command string, more ...string) []string {
	return append([]string{command, "--online", "--volume", theRAID, "--source", member1, "--source", member2, "--destination", joining}, more...)
}

func TestOnlineRebuildAsJSON(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine(online("rebuild", "--freeze", "ana", "--output", "json")...)
	require.Equal(t, exitDone, told.status, told.stdout+told.stderr)
	r := printed(t, told.stdout, false)
	require.Equal(t, []string{"RW", "RW", "RW"}, modesOf(t, r))
	require.Equal(t, json.Number("2"), r["online"].(map[string]any)["freezes"])
	again := printed(t, w.engine(online("rebuild", "--freeze", "ana", "--output", "json")...).stdout, false)
	require.Equal(t, "complete", again["outcome"])
	require.Equal(t, json.Number("0"), again["online"].(map[string]any)["freezes"], "it is a whole member")
}

func TestOnlineRebuildAsText(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine(online("rebuild", "--freeze", "none")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Regexp(t, `(?m)^  cut      in a freeze of [0-9.]+ ms$`, told.stdout)
	require.Contains(t, told.stdout, "  landed   the destination is a whole member of the volume\n")
	require.Regexp(t, `\nVolume\n  vol-1-r-0a1b2c3d on lvstore disk-1  RW  since .*\n  vol-1-r-3 on lvstore disk-3         RW  since .*\n  vol-1-r-4e5f6a7b on lvstore disk-2  RW  since .*\n  clients had to stand still 2 times, for [0-9.]+ ms at most\n\nNotices\n  the members keep rebuild-cut-[0-9a-f]{8} until a purge of the volume `, told.stdout)
}

func TestOnlinePlanChangesNothing(t *testing.T) {
	w := newWorld(t, liveVolume)
	before := w.stores()
	told := w.engine(online("plan")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Contains(t, told.stdout, "  cut     (head)")
	require.Contains(t, told.stdout, "  land    (head)")
	require.Equal(t, before, w.stores())
	require.Equal(t, exitDone, w.engine(online("plan", "--freeze", "none", "--output", "json")...).status)
}

func TestMembersAndSourcesMustBeTheSame(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine("rebuild", "--online", "--volume", theRAID, "--freeze", "none", "--source", member1, "--destination", joining)
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "volume vol-1 has the member disk-3/vol-1-r-3, which is not among the sources that can be used")
	told = w.engine("rebuild", "--online", "--volume", theRAID, "--freeze", "none", "--source", member1, "--source", joining, "--right-source", "vol-1-r-0a1b2c3d", "--destination", member2)
	require.Equal(t, exitFailed, told.status)
	require.Contains(t, told.stdout, "is no member of volume vol-1")
}

// A member whose target is gone was dropped: the command may name it, as before.
func TestSourceWhoseTargetIsGone(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine(online("rebuild", "--freeze", "none", "--source", "unix:///gone.sock?lvs=disk-9&replica=vol-1-r-9")...)
	require.Equal(t, exitDone, told.status, told.stdout)
	require.Contains(t, told.stdout, "source vol-1-r-9 is no longer used")
}

func TestMissingRAIDIsNamed(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine("rebuild", "--online", "--volume", "unix:///v.sock?raid=vol-2", "--freeze", "none", "--source", member1, "--destination", joining)
	requireShortLine(t, told, exitFailed, "open RAID vol-2")
}

func TestCommandsFreezeAndThaw(t *testing.T) {
	w := newWorld(t, liveVolume)
	log := filepath.Join(t.TempDir(), "log")
	told := w.engine(online("rebuild", "--freeze-command", "echo freeze >>"+log, "--thaw-command", "echo thaw >>"+log)...)
	require.Equal(t, exitDone, told.status, told.stdout)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "thaw\nfreeze\nthaw\nfreeze\nthaw\n", string(text), "a former freeze is ended first")
}

func TestVolumeThatCannotBeFrozenIsNotChanged(t *testing.T) {
	w := newWorld(t, liveVolume)
	told := w.engine(online("rebuild", "--freeze-command", "echo no such volume >&2; exit 3", "--thaw-command", "true", "--output", "json")...)
	require.Equal(t, exitFailed, told.status)
	r := printed(t, told.stdout, false)
	require.Equal(t, "failed", r["outcome"])
	require.Contains(t, r["error"], "the volume was not frozen")
	require.Contains(t, r["error"], "no such volume")
	require.Equal(t, []string{"RW", "RW"}, modesOf(t, r))
	require.Equal(t, "", r["online"].(map[string]any)["cut"])
}

// On simulated targets, over their sockets, with the RAID on the target of a member.
func TestOnlineRebuildOverSockets(t *testing.T) {
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			home, away := targettest.Simulate(t, fabric, flavour), targettest.Simulate(t, fabric, flavour)
			var at, heads []string
			for i, target := range []*targettest.Target{home, home, away} {
				lvstore := target.NewStore(t, 64)
				at = append(at, fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-%d", target.Socket, lvstore, i+1))
				if target == home {
					told := engine(t, "replica", "create", at[i], "--size", fmt.Sprint(8*targettest.ClusterSize), "--base", "none")
					require.Equal(t, exitDone, told.status, told.stderr)
					heads = append(heads, headOf(t, target, lvstore, fmt.Sprintf("v-r-%d", i+1)))
				}
			}
			volume := home.NewRAIDVolume(t, heads...)
			client := volume.Connect(t)
			written := filled(7)
			require.NoError(t, client.Write(t.Context(), written, targettest.ClusterSize))
			told := engine(t, "rebuild", "--online", "--volume", "unix://"+home.Socket+"?raid="+volume.RAID, "--freeze", "ana",
				"--source", at[0], "--source", at[1], "--destination", at[2], "--base", "none", "--output", "json")
			require.Equal(t, exitDone, told.status, told.stdout+told.stderr)
			r := printed(t, told.stdout, false)
			require.Equal(t, []string{"RW", "RW", "RW"}, modesOf(t, r))
			got := make([]byte, targettest.ClusterSize)
			away.Read(t, r["online"].(map[string]any)["members"].([]any)[2].(map[string]any)["head"].(string), got, targettest.ClusterSize)
			require.Equal(t, written, got)
		})
	}
}

func headOf(t *testing.T, target *targettest.Target, lvstore, replica string) string {
	t.Helper()
	host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: target.Socket, Lvstore: lvstore})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close()) }()
	store, err := host.List(t.Context())
	require.NoError(t, err)
	r, err := rebuild.NewReplica(store, replica)
	require.NoError(t, err)
	return r.Head.UUID
}
