package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// No command changes a replica whose target exports its head, uses it as a base of a RAID,
// or is attached to that export itself, and each error names the user. --in-use allows the
// change, but no delete that hangs the target.
func TestProtectedReplicas(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		for name, user := range map[string]domain.User{
			"exported":                       {Kind: domain.UserExport},
			"a base of a RAID":               {Kind: domain.UserRAID},
			"attached by its own target":     {Kind: domain.UserExport, NoDelete: true},
			"a snapshot read by esnap clone": {Kind: domain.UserClaim, NoDelete: true},
		} {
			t.Run(name, func(t *testing.T) { protect(t, target, user) })
		}
	})
}

func protect(t *testing.T, target *targettest.Target, user domain.User) {
	const from, to = "vol-1-r-1b2c3d4e", "vol-1-r-2c3d4e5f"
	source, destination := newPlace(t, target, storeClusters), newPlace(t, target, storeClusters)
	a, b := source.address(from), destination.address(to)
	first := source.snapshot(t, from, "s1", "", volumeClusters, createdAt(1), map[int]uint64{1: 3})
	source.head(t, from, source.snapshot(t, from, "s2", first, volumeClusters, createdAt(2), map[int]uint64{2: 4}), volumeClusters)
	left := destination.snapshot(t, to, "s1", "", volumeClusters, createdAt(1), map[int]uint64{1: 5})
	head := destination.head(t, to, left, volumeClusters)
	target.Write(t, head, noise(6), 0)
	used := head
	if user.Kind == domain.UserClaim {
		used = left
	}
	user, end := target.Use(t, used, user)

	before := destination.store(t)
	refused := [][]string{
		{"plan", "--source", a, "--destination", b, "--no-image"},
		{"rebuild", "--source", a, "--destination", b, "--no-image"},
		{"replica", "delete", b, "--confirm", to},
	}
	if used == head {
		refused = append(refused,
			[]string{"rebuild", "--source", b, "--destination", source.address("vol-1-r-3d4e5f6a"), "--no-image"},
			[]string{"snapshot", "create", b, "s3"},
			[]string{"snapshot", "revert", b, "s1", "--confirm", "s1"})
	}
	refused = append(refused, []string{"snapshot", "delete", b, "s1", "--confirm", "s1"})
	for _, args := range refused {
		status, object, said := program.command(t, args...)
		require.Equal(t, 1, status, "%v: %v %s", args, object, said)
		require.Equal(t, "refused", object["outcome"], "%v", args)
		require.Contains(t, object["error"], "is in use (it is "+user.String()+")", "%v", args)
	}
	require.Equal(t, before, destination.store(t), "nothing was changed")
	require.Empty(t, source.replica(t, "vol-1-r-3d4e5f6a").Snapshots)

	status, object, said := program.command(t, "rebuild", "--source", a, "--destination", b, "--no-image", "--in-use")
	if user.NoDelete {
		require.Equal(t, 1, status, "%v %s", object, said)
		require.Contains(t, object["error"], "no option permits this")
		require.Equal(t, before, destination.store(t), "nothing was changed")
		end()
		program.mustRebuild(t, a, b, "--no-image")
	} else {
		require.Zero(t, status, "%v %s", object, said)
		require.Contains(t, object["warnings"].([]any)[0], user.Name)
	}
	requireRebuilt(t, source, from, destination, to)
}

// The system snapshot of the source's head merges into the head again. The source is then
// as before, lvol by lvol, by UUID, and both replicas have the same data.
func TestSystemSnapshotCanBeDeletedAgain(t *testing.T) {
	onEach(t, between, func(t *testing.T, from, to *targettest.Target) {
		const healthy, lost = "vol-1-r-1b2c3d4e", "vol-1-r-2c3d4e5f"
		source, destination := newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
		image := noises(7, imageClusters)
		source.importImage(t, image)
		destination.importImage(t, image)
		source.growSource(t, healthy)
		a, b := source.address(healthy), destination.address(lost)
		before, view := source.store(t), source.view(t, *source.replica(t, healthy).Head)

		r, status := program.startRebuild(t, a, b, "--verify", "proof").result(t)
		require.Zero(t, status, "%+v", r)
		var taken string
		for _, s := range r.Destination.Snapshots {
			if strings.HasPrefix(s.Name, "rebuild-") {
				taken = s.Name
			}
		}
		require.NotEmpty(t, taken)
		warning := "gets snapshot " + taken + ": if Longhorn's engine knows the replica"
		if source.store(t).Records {
			require.Contains(t, fmt.Sprint(r.Warnings), warning)
		} else {
			require.NotContains(t, fmt.Sprint(r.Warnings), "Longhorn")
		}
		requireRebuilt(t, source, healthy, destination, lost)
		for _, at := range []string{a, b} {
			merged := program.do(t, "snapshot", "delete", at, taken, "--confirm", taken)
			require.NotEmpty(t, merged["mergedInto"])
		}
		require.Equal(t, before, source.store(t), "the source is what it was")
		require.Equal(t, view, source.view(t, *source.replica(t, healthy).Head))
		requireRebuilt(t, source, healthy, destination, lost)
		program.do(t, "audit", a, b)
		require.Equal(t, source.replica(t, healthy).Head.Own.Count, destination.replica(t, lost).Head.Own.Count)
	})
}
