package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
)

// While a rebuild reads a replica, every command of another process that would change it is
// refused, and the error names the owner. Another rebuild may read it.
func TestField_9191_SourceIsProtectedFromOtherProcesses(t *testing.T) {
	onEach(t, within|between, func(t *testing.T, from, to *targettest.Target) {
		source, destination := newChain(t, from, to)
		a, b := source.address(chainFrom), destination.address(chainTo)
		snapshot := source.replica(t, chainFrom).Snapshots[0].Name
		p := program.startRebuild(t, a, b)
		await(t, p, "a copy was under way", func() bool {
			_, filling := destination.filling(t, chainTo)
			return filling
		})
		for _, args := range [][]string{
			{"snapshot", "create", a, "new"},
			{"snapshot", "delete", a, snapshot, "--confirm", snapshot},
			{"snapshot", "revert", a, snapshot, "--confirm", snapshot},
			{"replica", "delete", a, "--confirm", chainFrom},
			{"repair", a, "--no-image"},
			{"rebuild", "--source", b, "--destination", a, "--no-image"},
		} {
			status, object, said := program.command(t, args...)
			require.Equal(t, 1, status, "%v: %v %s", args, object, said)
			require.Contains(t, fmt.Sprint(object, said), "in use by the rebuild of replica "+chainTo, "%v", args)
		}
		require.False(t, p.hasEnded(), "it goes on")
		to.LimitWrites(t, destination.lvstore, 0)
		requireEnds(t, p, "the rebuild")
		r, status := p.result(t)
		require.Zero(t, status, "%+v", r)
		requireRebuilt(t, source, chainFrom, destination, chainTo)
		source.requireAsItWas(t, chainFrom)
		program.do(t, "snapshot", "create", a, "new")
	})
}
