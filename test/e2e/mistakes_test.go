package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// writeHead writes clusters of a replica's head.
func (p *place) writeHead(t *testing.T, replica string, from, clusters int) {
	t.Helper()
	head := p.replica(t, replica).Head
	p.target.Write(t, head.UUID, noises(uint64(40+from), clusters), uint64(from)*clusterSize)
}

// warnings of a result, in one text.
func warningsOf(object map[string]any) string { return fmt.Sprint(object["warnings"]) }

// A replica of another volume is not overwritten until its name is repeated, and the result
// lists what was deleted.
func TestField_5709_ReplicaOfAnotherVolumeOnRealTarget(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		const clusters, right, wrong = 8, "vol-1-r-0a1b2c3d", "vol-2-r-0a1b2c3d"
		source, destination := newPlace(t, target, 64), newPlace(t, target, 64)
		snap := source.snapshot(t, right, "s1", "", clusters, createdAt(0), map[int]uint64{0: 1, 1: 2})
		source.head(t, right, snap, clusters)
		mine := destination.snapshot(t, wrong, "mine", "", clusters, createdAt(2), map[int]uint64{0: 3, 3: 4})
		destination.head(t, wrong, mine, clusters)
		destination.writeHead(t, wrong, 5, 1)
		args := []string{"--source", source.address(right), "--destination", destination.address(wrong), "--no-image"}
		says := []string{wrong + " on lvstore " + destination.lvstore, "another volume", "head (1 cluster of its own), snapshot mine (2 clusters of its own)", "confirm the name " + wrong}

		before := listings(t, target)
		for _, command := range []string{"plan", "rebuild"} {
			requireOneClearLine(t, 1, says, append([]string{command}, args...)...)
		}
		require.Equal(t, before, listings(t, target))

		told := program.do(t, append([]string{"rebuild", "--confirm", wrong}, args...)...)
		require.Equal(t, []any{
			map[string]any{"lvol": wrong, "clusters": 1.0}, map[string]any{"lvol": wrong + "-snap-mine", "clusters": 2.0},
		}, told["deleted"])
		requireRebuilt(t, source, right, destination, wrong)
	})
}

// An empty source, and one without the newest snapshot, are refused until the right one is
// named. A source with only snapshots gets a head as the refusal says.
func TestField_7425_8659_DifferingSourcesOnRealTarget(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		const clusters, empty, old, whole, rebuilt = 8, "vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b", "vol-1-r-8c9d0e1f", "vol-1-r-2a3b4c5d"
		var places []*place
		for range 4 {
			places = append(places, newPlace(t, target, 64))
		}
		a, b, c, d := places[0], places[1], places[2], places[3]
		a.head(t, empty, "", clusters)
		for replica, p := range map[string]*place{old: b, whole: c} {
			snap := p.snapshot(t, replica, "s1", "", clusters, createdAt(0), map[int]uint64{0: 1, 1: 2})
			if replica == whole {
				snap = p.snapshot(t, replica, "s2", snap, clusters, createdAt(2), map[int]uint64{1: 5})
			}
			p.head(t, replica, snap, clusters)
		}
		c.writeHead(t, whole, 6, 2)
		to := []string{"--destination", d.address(rebuilt), "--no-image"}
		for name, first := range map[string]string{empty: a.address(empty), old: b.address(old)} {
			before := listings(t, target)
			args := append([]string{"--source", first, "--source", c.address(whole)}, to...)
			says := []string{"the sources differ", "only " + whole + " on lvstore " + c.lvstore + " has snapshot", "s2", "name the right source"}
			for _, command := range []string{"plan", "rebuild"} {
				requireOneClearLine(t, 1, says, append([]string{command}, args...)...)
			}
			require.Equal(t, before, listings(t, target))
			told := program.do(t, append([]string{"plan", "--right-source", name}, args...)...)
			require.Contains(t, warningsOf(told), "s2", "what would be lost is a warning")
		}
		told := program.do(t, append([]string{"rebuild", "--right-source", whole, "--source", b.address(old), "--source", c.address(whole)}, to...)...)
		require.Equal(t, "complete", told["outcome"])
		requireRebuilt(t, c, whole, d, rebuilt)

		// There is one system snapshot, and the audit does not report it as damage.
		program.do(t, "rebuild", "--source", c.address(whole), "--destination", b.address(old), "--no-image")
		c.writeHead(t, whole, 6, 1)
		b.writeHead(t, old, 6, 1)
		program.do(t, "rebuild", "--source", b.address(old), "--source", c.address(whole), "--destination", d.address(rebuilt), "--no-image")
		audit := program.do(t, "audit", b.address(old), c.address(whole), d.address(rebuilt), "--no-image")
		require.Equal(t, false, audit["wrong"], "%v", audit)
		require.Contains(t, fmt.Sprint(audit["volumes"]), "which a rebuild took of the head")

		head := c.replica(t, whole).Head
		require.NoError(t, c.host.Delete(t.Context(), head.UUID))
		alone := []string{"rebuild", "--source", c.address(whole), "--destination", a.address(empty), "--no-image"}
		status, object, said := program.command(t, alone...)
		require.Equal(t, 1, status)
		said += fmt.Sprint(object["error"])
		require.Contains(t, said, "has no head, so it is incomplete")
		_, newest, found := strings.Cut(said, "revert it to its newest snapshot (")
		require.True(t, found, said)
		newest, _, _ = strings.Cut(newest, ")")
		program.do(t, "snapshot", "revert", c.address(whole), newest, "--size", fmt.Sprint(clusters*clusterSize), "--confirm", newest)
		program.do(t, alone...)
		requireRebuilt(t, c, whole, a, empty)
	})
}
