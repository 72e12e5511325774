package app_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// makeAndDrop makes a volume that has dropped its second member and, as a RAID in a new process,
// does not list it. The export of its head is still there.
func (b *makeFixture) makeAndDrop() {
	b.t.Helper()
	_, err := app.New(nil).CreateVolume(b.t.Context(), b.request(), madeSize)
	require.NoError(b.t, err)
	require.NoError(b.t, b.mirror.Leave(b.t.Context(), list(b.t, b.hosts[1], liveNames[1]).Head.UUID))
	_, err = b.mirror.WriteAt(filled(1), 0)
	require.NoError(b.t, err)
}

func TestVolumeShowsDroppedMember(t *testing.T) {
	b := newMakeFixture(t, 2, memory.Config{})
	b.makeAndDrop()
	report, err := app.New(nil).Volume(t.Context(), b.request())
	require.NoError(t, err)
	require.Len(t, report.Volume.Members, 1)
	require.Nil(t, report.Replicas[0].Dropped)
	require.Nil(t, report.Replicas[1].Head)
	require.Equal(t, list(t, b.hosts[1], liveNames[1]).Head.UUID, report.Replicas[1].Dropped.UUID)
	require.Equal(t, []string{liveNames[1] + " on lvstore disk-a2 is no member of volume vol-1 any more; its head is still exported to the volume's host, as the head of " + liveNames[1] + ": rebuild it under the volume"}, report.Faults())
}

// The deletion of a volume also ends what is left of a member that it has dropped, and is completed
// after the engine has failed at any call.
func TestVolumeDeletionEndsDroppedMember(t *testing.T) {
	for _, replicas := range []bool{false, true} {
		t.Run(fmt.Sprintf("replicas: %t", replicas), func(t *testing.T) {
			eachDeath(t, (*makeFixture).makeAndDrop, func(b *makeFixture) error {
				_, err := app.New(nil).DeleteVolume(b.t.Context(), b.request(), replicas)
				if errors.Is(err, app.ErrRefused) && errors.Is(err, ports.ErrNotFound) {
					return nil // the last call was made
				}
				return err
			}, func(b *makeFixture) { b.requireRemoved(replicas) })
		})
	}
}

// A replica that another volume may use is not taken for a dropped member.
func TestVolumeDeletionKeepsOthersExport(t *testing.T) {
	b := newMakeFixture(t, 2, memory.Config{})
	b.makeAndDrop()
	other, err := b.fabric.NewMirror(memory.MirrorConfig{Name: "vol-1-copy", New: true})
	require.NoError(t, err)
	peer, err := other.Peer(t.Context())
	require.NoError(t, err)
	run := ports.Run{Replica: liveNames[1], ID: "0badcafe"}
	at, err := b.hosts[1].Offer(t.Context(), run, ports.Way{ID: run.ID, Head: run.Replica}, peer)
	require.NoError(t, err)
	require.NoError(t, b.hosts[1].Show(t.Context(), run, at, list(t, b.hosts[1], liveNames[1]).Head.UUID))
	before := b.contents()
	for _, replicas := range []bool{false, true} {
		_, err = app.New(nil).DeleteVolume(t.Context(), b.request(), replicas)
		require.ErrorIs(t, err, app.ErrRefused)
		require.ErrorContains(t, err, liveNames[1]+" on lvstore disk-a2 is no member of volume vol-1")
	}
	require.Equal(t, before, b.contents())
	require.Equal(t, domain.UserExport, list(t, b.hosts[1], liveNames[1]).Head.UsedBy.Kind)
}
