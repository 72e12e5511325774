package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	cutOne, cutTwo = "rebuild-cut-00000001", "rebuild-cut-00000002"

	cutTree = "  s1\n    " + cutOne + " system\n      s2\n        " + cutTwo + " system\n          head\n"
)

// partOf is a replica of a volume; the zero mode is that of one that is no member.
func partOf(t *testing.T, mode Mode, drawn string) VolumeReplica {
	t.Helper()
	r := replicaOn(t, drawn)
	return VolumeReplica{Replica: r, Member: Member{Mode: mode}, Head: r.Head}
}

func TestPurgeOfCuts(t *testing.T) {
	rw := func(drawn string) VolumeReplica { return partOf(t, ModeRW, drawn) }
	for what, c := range map[string]struct {
		parts []VolumeReplica
		want  []Purge // Stays is a part of it
	}{
		"both merge": {
			[]VolumeReplica{rw(cutTree), rw(cutTree)},
			[]Purge{{cutOne, []int{0, 1}, "s2", ""}, {cutTwo, []int{0, 1}, "head", ""}},
		},
		"a system snapshot of an offline rebuild, and users' snapshots": {
			[]VolumeReplica{rw("  s1\n    rebuild-0badcafe system\n      head\n    rebuild-cut-notacut\n    rebuild-cut-00000003\n")},
			[]Purge{{"rebuild-0badcafe", []int{0}, "head", ""}, {"rebuild-cut-00000003", []int{0}, "", "a user took it"}},
		},
		"a branch that the volume was reverted from": {
			[]VolumeReplica{rw("  s1\n    head\n    " + cutOne + " system\n")},
			[]Purge{{cutOne, []int{0}, "", ""}},
		},
		"one member has been purged already": {
			[]VolumeReplica{rw("  s1\n    s2\n      " + cutTwo + " system\n        head\n"), rw(cutTree)},
			[]Purge{{cutTwo, []int{0, 1}, "head", ""}, {cutOne, []int{1}, "s2", ""}},
		},
		"several children": {
			[]VolumeReplica{rw("  " + cutOne + " system\n    s1\n    head\n")},
			[]Purge{{cutOne, []int{0}, "", "2 lvols are clones of snapshot " + cutOne}},
		},
		"linked clones read it": {
			[]VolumeReplica{rw("  " + cutOne + " system\n    head\n    snap:vol-1-r-4e5f6a7b-clone-ep-" + cutOne + " system\n      lvol:vol-2-r-4e5f6a7b\n")},
			[]Purge{{cutOne, []int{0}, "", "replicas are linked clones of it: vol-2-r-4e5f6a7b"}},
		},
		"a lost member can be proven by one": {
			[]VolumeReplica{rw(cutTree), partOf(t, ModeERR, "  s1\n    "+cutOne+" system\n")},
			[]Purge{{cutOne, []int{0}, "", "is not whole and has it, too"}, {cutTwo, []int{0}, "head", ""}},
		},
		"a replica that left can be proven by one": {
			[]VolumeReplica{rw(cutTree), partOf(t, "", "  s1\n    "+cutOne+" system\n      s2\n        "+cutTwo+" system\n")},
			[]Purge{{cutOne, []int{0}, "", "is not whole and has it, too"}, {cutTwo, []int{0}, "", "is not whole and has it, too"}},
		},
		"one member has been purged already, and a lost one can be proven by it": {
			[]VolumeReplica{rw("  s1\n    s2\n      head\n"), rw("  s1\n    " + cutOne + " system\n      s2\n        head\n"), partOf(t, ModeERR, "  s1\n    "+cutOne+" system\n")},
			[]Purge{{cutOne, []int{1}, "s2", ""}},
		},
		"members differ": {
			[]VolumeReplica{rw("  " + cutOne + " system\n    s1\n      head\n"), rw("  " + cutOne + " system\n    s2\n      head\n")},
			[]Purge{{cutOne, []int{0, 1}, "s1", "the members differ: it would merge into s1"}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			found, err := Volume{Name: "vol"}.PlanPurge(c.parts, nil)
			require.NoError(t, err)
			require.Len(t, found, len(c.want))
			for i, want := range c.want {
				require.Contains(t, found[i].Stays, want.Stays)
				require.Equal(t, want.Stays == "", found[i].Stays == "", found[i].Stays)
				found[i].Stays = want.Stays
				require.Equal(t, want, found[i])
			}
		})
	}
}

func TestPurgeIsRefused(t *testing.T) {
	rw := partOf(t, ModeRW, cutTree)
	_, err := Volume{Name: "vol"}.PlanPurge([]VolumeReplica{rw}, []Member{{Name: "x"}})
	requireRefusal(t, err, "member x of volume vol is none of the replicas given")
	_, err = Volume{Name: "vol"}.PlanPurge([]VolumeReplica{rw, partOf(t, ModeWO, "  s1\n")}, nil)
	requireRefusal(t, err, "is being rebuilt, or was left half-built, and reads through snapshots of the others: wait for its rebuild, or run that again")
}

func TestPurgeIsRefusedUnderLeftover(t *testing.T) {
	for _, leftover := range []string{"  s1\n  flight:0000000b external=way-0\n", "  s1\n  daily degraded\n"} {
		for _, mode := range []Mode{ModeERR, ""} {
			_, err := Volume{Name: "vol"}.PlanPurge([]VolumeReplica{partOf(t, ModeRW, cutTree), partOf(t, mode, leftover)}, nil)
			requireRefusal(t, err, "which a rebuild has left, may read through a snapshot of the members of volume vol")
		}
	}
}

func TestUnevenSystemSnapshots(t *testing.T) {
	parts := []VolumeReplica{partOf(t, ModeRW, cutTree), partOf(t, ModeRW, "  s2\n    "+cutOne+" system\n      head\n"), partOf(t, ModeERR, "")}
	require.Equal(t, []string{cutTwo}, UnevenSystemSnapshots(parts))
	require.Empty(t, UnevenSystemSnapshots(parts[:1]))
}

func TestExportedCutStays(t *testing.T) {
	part := partOf(t, ModeRW, cutTree)
	for i := range part.Replica.Snapshots {
		part.Replica.Snapshots[i].Lvol.UsedBy = User{Kind: UserExport, Name: "nqn.x"}
	}
	found, err := Volume{Name: "vol"}.PlanPurge([]VolumeReplica{part}, nil)
	require.NoError(t, err)
	require.Len(t, found, 2)
	for _, p := range found {
		require.Contains(t, p.Stays, "it is exported as nqn.x")
	}
}
