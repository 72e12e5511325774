package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
)

const member3 = "unix:///a3.sock?lvs=disk-4&replica=vol-1-r-4"

// threeMembers is a world with a volume of three members.
func threeMembers(t *testing.T) *world {
	t.Helper()
	return newWorld(t, strings.Replace(liveVolume, "members: 2", "members: 3", 1))
}

func volumeOf(command string, more ...string) []string {
	return append([]string{"volume", command, "--volume", theRAID, "--member", member1, "--member", member2, "--member", member3}, more...)
}

func (w *world) asJSON(status int, args ...string) map[string]any {
	w.t.Helper()
	told := w.engine(append(args, "--output", "json")...)
	require.Equal(w.t, status, told.status, told.stdout+told.stderr)
	require.Empty(w.t, told.stderr)
	require.NotContains(w.t, told.stdout, "null", "lists are never null")
	var object map[string]any
	require.NoError(w.t, json.Unmarshal([]byte(told.stdout), &object))
	require.Equal(w.t, "rebuild/v1", object["apiVersion"])
	require.Equal(w.t, object["outcome"] == "complete", object["error"] == "")
	return object
}

func TestVolumeShowAndCheck(t *testing.T) {
	w := threeMembers(t)
	shown := w.asJSON(exitDone, volumeOf("show")...)
	require.Empty(t, shown["faults"])
	require.Empty(t, shown["differ"])
	require.Len(t, shown["members"], 3)
	require.Equal(t, false, w.asJSON(exitDone, volumeOf("check")...)["wrong"])

	// One member gets a snapshot that the others have not.
	require.Equal(t, exitDone, w.engine("snapshot", "create", member2, "extra", "--in-use").status)
	requireGolden(t, "volume-show.txt", w.engine(volumeOf("show")...).stdout)
	require.Equal(t, []any{"extra"}, w.asJSON(exitDone, volumeOf("show")...)["differ"])
	told := w.engine(volumeOf("check")...)
	require.Equal(t, exitFailed, told.status)
	require.Empty(t, told.stderr)
	requireGolden(t, "volume-check.txt", told.stdout)
	checked := w.asJSON(exitFailed, volumeOf("check")...)
	require.Equal(t, true, checked["wrong"])
	require.Equal(t, []any{"vol-1-r-3 on disk-3"}, checked["odd"])
}

func TestVolumeShowNamesEveryFault(t *testing.T) {
	w := threeMembers(t)
	w.live.Members[2].Host.Kill()
	told := w.engine("volume", "show", "--volume", theRAID, "--member", member1, "--member", joining, "--member", member3)
	require.Equal(t, exitFailed, told.status, "a replica was not shown")
	require.Empty(t, told.stderr)
	require.Contains(t, told.stdout, "wrong: vol-1-r-4e5f6a7b on lvstore disk-2 is no member of volume vol-1\n")
	require.Regexp(t, `(?m)^\(head\) +1  0 on snap11 `, told.stdout, "also of the replica that is no member")
	require.Contains(t, told.stdout, "wrong: member disk-3/vol-1-r-3 of volume vol-1 is none of the replicas listed\n")
	require.Contains(t, told.stdout, "the host is down\n")
	check := w.asJSON(exitFailed, "volume", "check", "--volume", theRAID, "--member", member1, "--member", joining, "--member", member3)
	require.Equal(t, true, check["wrong"])
}

func TestVolumeSnapshotOfEveryMember(t *testing.T) {
	w := threeMembers(t)
	told := w.engine(volumeOf("snapshot", "daily", "--freeze", "ana")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Regexp(t, `^took snapshot daily of 3 members of volume vol-1; clients were stopped for [0-9.]+ ms\n$`, told.stdout)
	taken := w.asJSON(exitDone, volumeOf("snapshot", "hourly", "--freeze", "none")...)
	require.Equal(t, "hourly", taken["snapshot"])
	require.NotZero(t, taken["freezeMs"])
	require.Empty(t, w.asJSON(exitDone, volumeOf("show")...)["differ"])
	for _, m := range w.live.Members {
		_, ok := w.replica(m.Host, m.Replica).Snapshot("daily")
		require.True(t, ok, m.Replica)
	}

	before := w.stores()
	refused := w.asJSON(exitFailed, volumeOf("snapshot", "daily", "--freeze", "none")...)
	require.Contains(t, refused["error"], "has a snapshot daily already")
	told = w.engine("volume", "snapshot", "weekly", "--volume", theRAID, "--freeze", "none", "--member", member1, "--member", member2)
	requireShortLine(t, told, exitFailed, "member disk-4/vol-1-r-4", "name every replica of the volume")
	require.Equal(t, before, w.stores())
}

func TestVolumeDeleteAndCreate(t *testing.T) {
	w := threeMembers(t)
	before := w.stores()
	requireShortLine(t, w.engine(volumeOf("delete")...), exitUsage, "engine: volume delete: volume vol-1 will be deleted; its 3 replicas will be kept", "--confirm vol-1")
	requireShortLine(t, w.engine(volumeOf("delete", "--replicas")...), exitUsage, "volume vol-1 will be deleted with its 3 replicas, 9 lvols")
	gone := strings.Replace(member3, "a3", "a9", 1)
	requireShortLine(t, w.engine("volume", "delete", "--volume", theRAID, "--member", member1, "--member", gone), exitFailed, "engine: open target /a9.sock")
	require.Equal(t, before, w.stores())
	told := w.engine(volumeOf("delete", "--confirm", "vol-1")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	requireGolden(t, "volume-delete.txt", told.stdout)
	requireShortLine(t, w.engine(volumeOf("delete", "--confirm", "vol-1")...), exitFailed, "the volume does not exist")

	told = w.engine(volumeOf("create")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	requireGolden(t, "volume-create.txt", told.stdout)
	require.Len(t, w.asJSON(exitDone, volumeOf("create")...)["members"], 3, "again")
	removed := w.asJSON(exitDone, volumeOf("delete", "--replicas", "--confirm", "vol-1")...)
	require.Len(t, removed["replicas"], 3)
	requireShortLine(t, w.engine(volumeOf("create", "--no-image")...), exitFailed, "the volume's size is not given")
	requireGolden(t, "volume-create-new.txt", w.engine(volumeOf("create", "--no-image", "--size", "512KiB")...).stdout)
	made := w.asJSON(exitDone, volumeOf("create", "--no-image")...)
	require.Equal(t, 512<<10, int(made["size"].(float64)))
	require.Empty(t, made["faults"])
}

// rebuiltVolume is a world in which a live volume has got a member by a rebuild.
func rebuiltVolume(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, liveVolume)
	told := w.engine(online("rebuild", "--freeze", "ana")...)
	require.Equal(t, exitDone, told.status, told.stdout+told.stderr)
	return w
}

// A member that the RAID has dropped, its head still exported, becomes one again by the command that
// made it one, and goes with the volume.
func TestDroppedMemberByCommands(t *testing.T) {
	w := rebuiltVolume(t)
	ofVolume := func(command string, more ...string) []string {
		return append([]string{"volume", command, "--volume", theRAID, "--member", member1, "--member", member2, "--member", joining}, more...)
	}
	drop := func() {
		require.NoError(t, w.live.Mirror.Leave(t.Context(), w.replica(w.b, "vol-1-r-4e5f6a7b").Head.UUID))
	}
	drop()
	dropped := w.asJSON(exitDone, ofVolume("show")...)["members"].([]any)[2].(map[string]any)
	require.Equal(t, "the head of vol-1-r-4e5f6a7b", dropped["dropped"])
	require.Contains(t, w.engine(ofVolume("show")...).stdout, "3  no member  vol-1-r-4e5f6a7b on disk-2\n")
	require.Contains(t, w.engine(ofVolume("show")...).stdout, "wrong: vol-1-r-4e5f6a7b on lvstore disk-2 is no member of volume vol-1 any more; its head is still exported")
	told := w.engine(online("rebuild", "--freeze", "ana")...)
	require.Equal(t, exitDone, told.status, told.stdout+told.stderr)
	shown := w.asJSON(exitDone, ofVolume("show")...)
	require.Empty(t, shown["faults"])
	require.Empty(t, shown["members"].([]any)[2].(map[string]any)["dropped"])

	drop()
	told = w.engine(ofVolume("delete", "--confirm", "vol-1")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.False(t, w.replica(w.b, "vol-1-r-4e5f6a7b").Head.UsedBy.Any())
}

// namesCut hides the digits of a cut's name.
var namesCut = regexp.MustCompile(`rebuild-cut-[0-9a-f]{8}`)

func TestVolumePurge(t *testing.T) {
	w := rebuiltVolume(t)
	purge := []string{"volume", "purge", "--volume", theRAID, "--member", member1, "--member", member2, "--member", joining}
	told := w.engine(purge...)
	require.Equal(t, exitDone, told.status, told.stderr)
	requireGolden(t, "volume-purge.txt", namesCut.ReplaceAllString(told.stdout, "rebuild-cut-0a1b2c3d"))
	requireShortLine(t, w.engine(append(purge, "--yes")...), exitUsage, "how are clients stopped?")
	requireShortLine(t, w.engine(append(purge, "--freeze-limit", "-3s")...), exitUsage, "--freeze-limit -3s: expected a positive time")
	require.Len(t, w.asJSON(exitDone, purge...)["snapshots"], 1)
	told = w.engine(append(purge, "--yes", "--freeze", "ana")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Regexp(t, `rebuild-cut-[0-9a-f]{8} on 3 members: deleted; it merged into head\nclients were stopped for [0-9.]+ ms at most\n$`, told.stdout)
	require.Empty(t, w.asJSON(exitDone, append(purge, "--yes", "--freeze", "none")...)["snapshots"])
	told = w.engine(purge...)
	require.Equal(t, "volume vol-1: 0 system snapshots of earlier rebuilds\n", told.stdout)
	require.Empty(t, w.asJSON(exitDone, "volume", "show", "--volume", theRAID, "--member", member1, "--member", member2, "--member", joining)["differ"])
}

// A killed run has left a cut that one member has.
func TestVolumePurgeWarnsThatMembersMayDiffer(t *testing.T) {
	w := threeMembers(t)
	first := w.live.Members[0]
	name := first.Replica + "-snap-rebuild-cut-0a1b2c3d"
	_, err := first.Host.Snapshot(t.Context(), w.replica(first.Host, first.Replica).Head.UUID, name, rebuild.Attributes{})
	require.NoError(t, err)
	warning := "only some members have snapshot rebuild-cut-0a1b2c3d: where clients trim, the members' bytes may differ until these ranges are written again"
	require.Equal(t, []any{warning}, w.asJSON(exitDone, volumeOf("purge")...)["warnings"])
	told := w.engine(volumeOf("purge", "--yes", "--freeze", "ana")...)
	require.Equal(t, exitDone, told.status, told.stderr)
	require.Contains(t, told.stdout, "rebuild-cut-0a1b2c3d on 1 member: deleted; it merged into head\n")
	require.True(t, strings.HasSuffix(told.stdout, " at most\nwarning: "+warning+"\n"), told.stdout)
	require.Empty(t, w.asJSON(exitDone, volumeOf("purge")...)["warnings"])
}

func TestVolumeUsageErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"no volume", []string{"volume", "show", "--member", member1}, "--volume is missing"},
		{"no member", []string{"volume", "check", "--volume", theRAID}, "--member is missing"},
		{"a member twice", []string{"volume", "show", "--volume", theRAID, "--member", member1, "--member", member1}, "given twice"},
		{"a member twice in other words", []string{"volume", "show", "--volume", theRAID, "--member", member3, "--member", "unix:///a3.sock?replica=vol-1-r-4&lvs=disk-4"}, "replica=vol-1-r-4&lvs=disk-4\": given twice"},
		{"a snapshot without a name", volumeOf("snapshot", "--freeze", "none"), "expected 1 argument"},
		{"a bad name", volumeOf("snapshot", "a b", "--freeze", "none"), "NAME"},
		{"a snapshot without a freeze", volumeOf("snapshot", "daily"), "how are clients stopped?"},
		{"a volume command that is none", []string{"volume", "grow"}, `"grow"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			requireShortLine(t, threeMembers(t).engine(test.args...), exitUsage, test.says)
		})
	}
}
