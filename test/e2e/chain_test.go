package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A chain is a volume with a slow rebuild: on a destination with limited writes, each of
// its snapshots takes a second.
const (
	chainLength    = 4
	chainClusters  = 8 // own, of each snapshot
	chainVolume    = chainLength*chainClusters + 4
	chainMiBSecond = 8
	chainFrom      = "vol-1-r-0a1b2c3d"
	chainTo        = "vol-1-r-4e5f6a7b"
)

// newChain makes a healthy replica of a chain, and an empty place with limited writes.
func newChain(t *testing.T, from, to *targettest.Target) (source, destination *place) {
	t.Helper()
	source, destination = newPlace(t, from, storeClusters), newPlace(t, to, storeClusters)
	image := noises(7, 2)
	source.importImage(t, image)
	destination.importImage(t, image)
	source.growChain(t, chainFrom)
	to.LimitWrites(t, destination.lvstore, chainMiBSecond)
	return source, destination
}

func (p *place) growChain(t *testing.T, replica string) {
	t.Helper()
	parent := p.image
	for i := range chainLength {
		uuid, err := p.host.Clone(t.Context(), parent, domain.InFlightLvolName(replica, "000000aa"), chainVolume*clusterSize, "")
		require.NoError(t, err)
		p.target.Write(t, uuid, noises(uint64(100+i), chainClusters), uint64(i*chainClusters+1)*clusterSize)
		parent = p.seal(t, uuid, domain.SnapshotLvolName(replica, chainName(i)), createdAt(i))
	}
	p.head(t, replica, parent, chainVolume)
}

func chainName(i int) string { return fmt.Sprintf("s%d", i+1) }

// sealed are the names of the replica's snapshots on the store.
func (p *place) sealed(t *testing.T, replica string) (names []string) {
	t.Helper()
	for _, s := range p.replica(t, replica).Snapshots {
		names = append(names, s.Name)
	}
	return names
}

// filling is an lvol in flight that is partly filled, if there is one.
func (p *place) filling(t *testing.T, replica string) (domain.Lvol, bool) {
	t.Helper()
	for _, l := range p.replica(t, replica).InFlight {
		if l.Own.Count > 0 && l.Own.Count < chainClusters {
			return l, true
		}
	}
	return domain.Lvol{}, false
}

// await polls until the condition holds. If the process ends before, the test fails.
func await(t *testing.T, p *process, what string, isSo func() bool) {
	t.Helper()
	for !isSo() {
		require.False(t, p.hasEnded(), "the process ended before %s\nstdout: %s\nstderr: %s", what, &p.stdout, &p.stderr)
		time.Sleep(2 * time.Millisecond)
	}
}

// requireEnds waits for a process. The bound is far above what is promised, since the
// machine may be busy; it detects a process that hangs.
func requireEnds(t *testing.T, p *process, why string) {
	t.Helper()
	began := time.Now()
	select {
	case <-p.ended:
		t.Logf("%s: it ended after %v", why, time.Since(began).Round(10*time.Millisecond))
	case <-time.After(time.Minute):
		require.FailNow(t, "it does not end", "%s", why)
	}
}

// requireFailed waits for a rebuild that has to fail, and returns its error.
func requireFailed(t *testing.T, p *process, why string) string {
	t.Helper()
	requireEnds(t, p, why)
	r, status := p.result(t)
	require.Equal(t, 1, status, "%s: %+v", why, r)
	require.Equal(t, "failed", r.Outcome, why)
	require.NotEmpty(t, r.Error)
	t.Logf("%s: %s", why, r.Error)
	return r.Error
}

// requireSealedRight checks that all lvols with a final name have the data of the source's
// snapshot.
func requireSealedRight(t *testing.T, source, destination *place) {
	t.Helper()
	from := source.replica(t, chainFrom)
	for _, s := range destination.replica(t, chainTo).Snapshots {
		want, ok := from.Snapshot(s.Name)
		require.True(t, ok, s.Name)
		require.True(t, bytes.Equal(source.sourceView(t, want.Lvol), destination.view(t, s.Lvol)), "the view of %s, which is sealed", s.Name)
	}
}

// requireKept rebuilds once more, and checks that exactly the finished snapshots are kept,
// if they can be proven.
func requireKept(t *testing.T, source, destination *place, finished []string) {
	t.Helper()
	requireSealedRight(t, source, destination)
	r := program.mustRebuild(t, source.address(chainFrom), destination.address(chainTo))
	requireRebuilt(t, source, chainFrom, destination, chainTo)
	source.requireAsItWas(t, chainFrom)
	want := make(map[string]string)
	for i := range chainLength {
		want[chainName(i)] = "copy"
	}
	if source.store(t).Proves && destination.store(t).Proves {
		for _, name := range finished {
			want[name] = "keep"
		}
	}
	actions := r.actions()
	for name, action := range actions {
		if action == "remove" {
			delete(actions, name) // what was in flight
		}
	}
	require.Equal(t, want, actions)
}

// requireNoCopy relies on SPDK, which refuses a clone of a snapshot that is copied.
func requireNoCopy(t *testing.T, source *place) {
	t.Helper()
	for _, s := range source.replica(t, chainFrom).Snapshots {
		uuid, err := source.host.Clone(t.Context(), s.Lvol.UUID, "probe", chainVolume*clusterSize, "")
		require.NoError(t, err, "%s is still copied", s.Name)
		require.NoError(t, source.host.Delete(t.Context(), uuid))
	}
}
