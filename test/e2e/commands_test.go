package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// command runs the program and returns its exit status, its JSON, and without JSON its
// stderr.
func (e engine) command(t *testing.T, args ...string) (status int, object map[string]any, said string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), e.path, append(args, "--output", "json")...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); command.ProcessState.ExitCode() < 0 {
		require.NoError(t, err)
	}
	if stdout.Len() > 0 {
		require.NoError(t, json.Unmarshal(stdout.Bytes(), &object), "%s", stdout.String())
	}
	return command.ProcessState.ExitCode(), object, stderr.String()
}

// do is command for a command that must succeed.
func (e engine) do(t *testing.T, args ...string) map[string]any {
	t.Helper()
	status, object, said := e.command(t, args...)
	require.Zero(t, status, "%v %s", object, said)
	require.Empty(t, unexpected(said))
	require.Equal(t, "complete", object["outcome"])
	return object
}

// Commands make two replicas; one loses its image. The audit finds it, the repair copies
// no data, and the next audit finds nothing. The image is smaller than the volume, so
// that grafts need spacers.
func TestField_10909_CommandsOnRealTargets(t *testing.T) {
	engine := program
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		a, b := newPlace(t, target, storeClusters), newPlace(t, target, storeClusters)
		image := make([]byte, imageClusters*clusterSize)
		for i := range imageClusters {
			copy(image[i*clusterSize:], noise(uint64(100+i)))
		}
		healthyAt, hurtAt := address(target.Socket, a.lvstore, "vol-1-r-0a1b2c3d"), address(target.Socket, b.lvstore, "vol-1-r-4e5f6a7b")
		for _, side := range []struct {
			*place
			at, name string
		}{{a, healthyAt, "vol-1-r-0a1b2c3d"}, {b, hurtAt, "vol-1-r-4e5f6a7b"}} {
			side.importImage(t, image)
			engine.do(t, "replica", "create", side.at, "--size", "16MiB", "--image", imageName)
			for i, name := range []string{"s1", "s2", "s3"} {
				head := side.replica(t, side.name).Head
				side.target.Write(t, head.UUID, noise(uint64(i)), uint64(i)*clusterSize)
				engine.do(t, "snapshot", "create", side.at, name)
			}
			engine.do(t, "snapshot", "revert", side.at, "s1", "--confirm", "s1")
			head := side.replica(t, side.name).Head
			side.target.Write(t, head.UUID, noise(9), 9*clusterSize)
			engine.do(t, "snapshot", "create", side.at, "s4")
			require.Equal(t, "s2", engine.do(t, "snapshot", "delete", side.at, "s2", "--confirm", "s2")["snapshot"])
			require.Len(t, engine.do(t, "snapshot", "list", side.at)["replicas"].([]any)[0].(map[string]any)["snapshots"], 3)
		}
		status, _, said := engine.command(t, "snapshot", "delete", healthyAt, "s4")
		require.Equal(t, 2, status, "its name was not repeated")
		require.Contains(t, said, "--confirm s4")
		status, _, _ = engine.command(t, "snapshot", "delete", healthyAt, "s1", "--confirm", "s1")
		require.Equal(t, 1, status, "two hang on it")
		// The snapshots of the replicas have different times, which is a difference.
		status, audit, _ := engine.command(t, "audit", healthyAt, hurtAt)
		for _, v := range audit["volumes"].([]any) {
			for _, r := range v.(map[string]any)["replicas"].([]any) {
				require.Empty(t, r.(map[string]any)["violations"])
			}
			for _, d := range v.(map[string]any)["differences"].([]any) {
				require.Equal(t, "attributes", d.(map[string]any)["rule"])
			}
		}
		require.LessOrEqual(t, status, 1)

		before := b.replica(t, "vol-1-r-4e5f6a7b")
		views := map[string][]byte{"head": b.view(t, *before.Head)}
		for _, s := range before.Snapshots {
			views[s.Name] = b.view(t, s.Lvol)
		}
		require.Equal(t, noise(0), views["head"][:clusterSize])
		require.Equal(t, image[clusterSize:2*clusterSize], views["head"][clusterSize:2*clusterSize], "the image shows through")
		ancestor, _ := before.Snapshot("s1")
		require.NoError(t, b.host.Graft(t.Context(), ancestor.Lvol.UUID, ""))

		status, audit, _ = engine.command(t, "audit", healthyAt, hurtAt)
		require.Equal(t, 1, status)
		volume := audit["volumes"].([]any)[0].(map[string]any)
		violations := volume["replicas"].([]any)[1].(map[string]any)["violations"].([]any)
		require.Len(t, violations, 1)
		require.Equal(t, map[string]any{
			"subject": "s1", "rule": "ancestor-parent", "repairable": true,
			"detail": "lvol vol-1-r-4e5f6a7b-snap-s1 has no parent instead of backing-image:" + imageName,
		}, violations[0])

		plan := engine.do(t, "repair", hurtAt, "--compare", healthyAt, "--dry-run")["plan"].([]any)
		require.Equal(t, "graft", plan[0].(map[string]any)["action"])
		require.Equal(t, "", b.replica(t, "vol-1-r-4e5f6a7b").Store.Lvols[indexOf(t, b, ancestor.Lvol.UUID)].Parent, "a plan changes nothing")
		repaired := engine.do(t, "repair", hurtAt, "--image", imageName)
		require.Zero(t, repaired["copiedBytes"])

		after := b.replica(t, "vol-1-r-4e5f6a7b")
		require.Equal(t, views["head"], b.view(t, *after.Head))
		for _, s := range after.Snapshots {
			require.Equal(t, views[s.Name], b.view(t, s.Lvol), "the view of %s", s.Name)
			require.Equal(t, lvolOf(t, before, s.Name).Own.Count, s.Lvol.Own.Count, "no cluster was copied")
		}
		require.Empty(t, after.InFlight)
		engine.do(t, "audit", hurtAt)
		require.Equal(t, 1, len(engine.do(t, "tree", hurtAt)["replicas"].([]any)))

		engine.do(t, "replica", "delete", hurtAt, "--confirm", "vol-1-r-4e5f6a7b")
		status, _, _ = engine.command(t, "tree", hurtAt)
		require.Equal(t, 1, status)
		left := b.store(t)
		require.Len(t, left.Lvols, 1, "the image alone is left")
	})
}

func indexOf(t *testing.T, p *place, uuid string) int {
	t.Helper()
	for i, l := range p.store(t).Lvols {
		if l.UUID == uuid {
			return i
		}
	}
	t.Fatalf("lvol %s is not listed", uuid)
	return -1
}

func lvolOf(t *testing.T, r domain.Replica, snapshot string) domain.Lvol {
	t.Helper()
	s, ok := r.Snapshot(snapshot)
	require.True(t, ok, snapshot)
	return s.Lvol
}
