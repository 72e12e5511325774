package e2e

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/liveclient"
)

// fiveVolumes rebuilds a replica of each of five volumes at once, over its leftovers, while
// clients write all of them. Their replicas share an image on each host. One was expanded.
func fiveVolumes(t *testing.T, at *liveTargets) {
	var places []*place // the destinations', and the members'
	for _, target := range []*targettest.Target{at.to, at.members[0], at.members[1]} {
		p := newPlace(t, target, storeClusters)
		p.importImage(t, noises(7, imageClusters))
		places = append(places, p)
	}
	fields := newFieldVolumes()
	volumes := make([]*liveVolume, len(fields))
	for i, f := range fields {
		v := &liveVolume{home: at.home, destination: liveReplica{places[0], f.to}, size: int64(f.clusters("head")) * clusterSize}
		for n, p := range places[1:] {
			f.from = f.from[:len(f.from)-1] + strconv.Itoa(n) // each replica has a name of its own
			f.grow(t, p)
			v.members = append(v.members, liveReplica{p, f.from})
		}
		f.leave(t, places[0])
		volumes[i] = v
	}
	t.Cleanup(func() { closeVolumes(t, volumes...) })
	for _, v := range volumes {
		v.mirrorMembers(t)
		v.start(t, liveclient.Config{Clients: 2, Longest: 8192, Pause: 8 * time.Millisecond, Reads: 50, Writes: 45, Zeroes: 5})
	}
	engine := rebuild.New(rebuild.WithLogger(zaptest.NewLogger(t)))
	volumesAtOnce(t, fields, "rebuild", func(t *testing.T, i int, _ fieldVolume) { volumes[i].rebuildBy(t, engine) })
	for _, v := range volumes {
		v.awaitWrites(t, 20)
	}
	for _, v := range volumes {
		v.stop(t)
		v.requireWhole(t)
		require.Len(t, v.whole(t), 3)
	}
}

// lifeOfVolume makes the tree of a volume of two replicas by writes, snapshots and reverts of
// the volume. One replica crashes, is messed up, and is rebuilt while clients write. Then the
// volume is reverted to each branch and read, and the replica is rebuilt once more.
func lifeOfVolume(t *testing.T, at *liveTargets) {
	v := growLiveVolume(t, at, 2, true, func(p *place, replica string) { p.head(t, replica, p.image, volumeClusters) })
	content := v.growTree(t)

	v.startClients(t)
	crashed := v.members[1]
	crashed.target.Kill(t)
	v.members, v.destination = v.members[:1], crashed
	v.awaitWhole(t, 1)
	v.awaitWrites(t, 20)
	crashed.target.Restart(t)
	damage(t, crashed.place, crashed.name)
	snap22, _ := crashed.look(t).Snapshot("snap22")
	require.NoError(t, crashed.host.Delete(t.Context(), snap22.Lvol.UUID))
	crashed.target.Write(t, crashed.look(t).Head.UUID, noise(77), 6*clusterSize)
	v.rebuild(t)
	v.awaitWrites(t, 20)
	v.stop(t)
	v.requireWhole(t)
	v.requireSnapshots(t, content)

	for _, tip := range []string{"snap13", "snap22", "snap31"} {
		v.revert(t, tip)
		require.True(t, bytes.Equal(content[tip], v.read(t)), "the volume on branch %s", tip)
	}
	v.startClients(t)
	crashed.target.Kill(t)
	v.awaitWhole(t, 1)
	v.awaitWrites(t, 20)
	crashed.target.Restart(t)
	v.rebuild(t)
	v.awaitWrites(t, 20)
	v.stop(t)
	v.requireWhole(t)
	v.requireSnapshots(t, content)
}

// growTree makes the branching tree, and returns what the volume was at each snapshot.
func (v *liveVolume) growTree(t *testing.T) map[string][]byte {
	t.Helper()
	content, head := make(map[string][]byte), ""
	for _, b := range branches {
		if b.parent != head {
			v.revert(t, b.parent)
		}
		for at, seed := range b.writes {
			_, err := v.client.WriteAt(noise(seed), int64(at)*clusterSize)
			require.NoError(t, err)
		}
		content[b.name] = v.read(t)
		_, err := rebuild.New().SnapshotVolume(t.Context(), v.volumeRequest(), b.name)
		require.NoError(t, err)
		head = b.name
	}
	return content
}

func (v *liveVolume) read(t *testing.T) []byte {
	t.Helper()
	all := make([]byte, v.size)
	_, err := v.client.ReadAt(all, 0)
	require.NoError(t, err)
	return all
}

// revert reverts all whole replicas while there is no RAID, and makes it again of them.
func (v *liveVolume) revert(t *testing.T, snapshot string) {
	t.Helper()
	v.hangUp()
	whole := v.members
	if v.destination.look(t).Head != nil {
		whole = append(whole[:len(whole):len(whole)], v.destination)
	}
	v.home.Call(t, "bdev_raid_delete", map[string]any{"name": v.exported.RAID}, nil)
	for _, p := range whole {
		require.NoError(t, p.host.HideHead(t.Context(), p.name))
		_, err := rebuild.New().Revert(t.Context(), rebuild.RevertRequest{Replica: p.site(), Snapshot: snapshot})
		require.NoError(t, err)
	}
	v.mirrorReplicas(t, whole)
}

// requireSnapshots compares snapshots of every replica with what the volume was then.
func (v *liveVolume) requireSnapshots(t *testing.T, content map[string][]byte) {
	t.Helper()
	for _, p := range v.replicas() {
		r := p.look(t)
		for name, want := range content {
			s, has := r.Snapshot(name)
			require.True(t, has, "%s of %s", name, p.name)
			require.True(t, bytes.Equal(want, p.view(t, s.Lvol)), "%s of %s", name, p.name)
		}
	}
}
