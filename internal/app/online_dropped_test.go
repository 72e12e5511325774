package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/raid"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// droppedTests: the mirror drops a member that a rebuild has made. A new process, which has not
// seen it as a member, rebuilds it by the same request.
var droppedTests = testsOnTargets{
	"its target restarts":   rebuildDropped((*volumeOnTargets).restartMember),
	"its lvstore is full":   rebuildDropped((*volumeOnTargets).fillMember),
	"the path to it breaks": rebuildDropped((*volumeOnTargets).breakPath),
}

func TestDroppedMemberIsRebuiltOnTargets(t *testing.T) { droppedTests.onSimulated(t) }

func TestRealTargetDroppedMemberIsRebuilt(t *testing.T) { droppedTests.onReal(t) }

// rebuildDropped: lose makes the mirror drop the member, and returns a function that ends the
// cause.
func rebuildDropped(lose func(v *volumeOnTargets) (end func())) func(*testing.T, func(*testing.T) *targettest.Target) {
	return func(t *testing.T, start func(*testing.T) *targettest.Target) {
		v := newVolumeOnTargets(t, start)
		v.rebuild(v.request())
		v.lose(lose)
		v.reopen()
		head := replicaOn(t, v.hosts[2], v.names[2]).Head.UUID
		volume, err := v.mirror.Volume(t.Context())
		require.NoError(t, err)
		_, is := volume.Member(head)
		require.False(t, is, "only the process that has seen it lists it")

		v.rebuild(v.request())
		require.NotEqual(t, head, replicaOn(t, v.hosts[2], v.names[2]).Head.UUID)
		require.Len(t, v.controllers(), 2)
		require.NoError(t, v.mirror.Leave(t.Context(), v.heads[0]))
		require.NoError(t, v.mirror.Leave(t.Context(), v.heads[1]))
		v.reads()
	}
}

// lose has the mirror drop the destination, which is a whole member.
func (v *volumeOnTargets) lose(lose func(v *volumeOnTargets) (end func())) {
	v.t.Helper()
	head := replicaOn(v.t, v.hosts[2], v.names[2]).Head.UUID
	stop := v.startClient()
	end := lose(v)
	require.Eventually(v.t, func() bool {
		volume, err := v.mirror.Volume(v.t.Context())
		require.NoError(v.t, err)
		m, _ := volume.Member(head)
		return m.Mode == domain.ModeERR
	}, time.Minute, 10*time.Millisecond)
	stop()
	end()
}

func (v *volumeOnTargets) restartMember() (end func()) {
	v.targets[2].Restart(v.t)
	return func() {}
}

// fillMember leaves no space: the next write to the head after a snapshot fails.
func (v *volumeOnTargets) fillMember() (end func()) {
	store, err := v.hosts[2].List(v.t.Context())
	require.NoError(v.t, err)
	filler, err := v.hosts[2].Create(v.t.Context(), "filler", store.FreeClusters*store.ClusterSize)
	require.NoError(v.t, err)
	for at := range store.FreeClusters {
		if now, err := v.hosts[2].List(v.t.Context()); err == nil && now.FreeClusters == 0 {
			break // the client has taken the rest
		}
		v.targets[2].Write(v.t, filler, filledCluster(1), at*store.ClusterSize)
	}
	_, err = app.New(nil).SnapshotVolume(v.t.Context(), v.volumeRequest(), "daily")
	require.NoError(v.t, err)
	return func() { require.NoError(v.t, v.hosts[2].Delete(v.t.Context(), filler)) }
}

// volumeRequest names all three replicas.
func (v *volumeOnTargets) volumeRequest() app.VolumeRequest {
	request := app.VolumeRequest{Mirror: v.mirror, Base: domain.NoBase(), Freezer: v.request().Freezer}
	for i, host := range v.hosts {
		request.Members = append(request.Members, app.Site{Host: host, Replica: v.names[i]})
	}
	return request
}

// breakPath: the member's target lives on, and so does the export of the head.
func (v *volumeOnTargets) breakPath() (end func()) {
	peer, err := v.mirror.Volume(v.t.Context())
	require.NoError(v.t, err)
	user := replicaOn(v.t, v.hosts[2], v.names[2]).Head.UsedBy
	require.Equal(v.t, peer.Host, user.Host)
	path := map[string]any{"nqn": user.Name, "host": user.Host}
	v.targets[2].Call(v.t, "nvmf_subsystem_remove_host", path, nil)
	return func() { v.targets[2].Call(v.t, "nvmf_subsystem_add_host", path, nil) }
}

// reopen opens the mirror and the hosts as another process does.
func (v *volumeOnTargets) reopen() {
	v.t.Helper()
	volume, err := v.mirror.Volume(v.t.Context())
	require.NoError(v.t, err)
	v.mirror, err = raid.OpenMirror(v.t.Context(), raid.MirrorConfig{Socket: v.targets[0].Socket, RAID: volume.Name, Logger: zaptest.NewLogger(v.t)})
	require.NoError(v.t, err)
	v.t.Cleanup(func() { require.NoError(v.t, v.mirror.Close()) })
	for i, host := range v.hosts {
		store, err := host.List(v.t.Context())
		require.NoError(v.t, err)
		v.hosts[i] = openTarget(v.t, v.targets[i].Socket, store.Name)
	}
}

// controllers are those of the mirror's target.
func (v *volumeOnTargets) controllers() (names []string) {
	var attached []struct{ Name string }
	v.targets[0].Call(v.t, "bdev_nvme_get_controllers", nil, &attached)
	for _, c := range attached {
		names = append(names, c.Name)
	}
	return names
}
