package raid_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// listBeside lists the members while do changes them: the target tells of the RAID before that, and
// the rest after it.
func (v *volume) listBeside(t *testing.T, home *targettest.Target, do func()) domain.Volume {
	t.Helper()
	asked, changed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	home.Simulated().Inject(func(r simtarget.Request) (f simtarget.Fault) {
		if r.Method == "bdev_get_iostat" {
			once.Do(func() { close(asked); f.Until = changed })
		}
		return f
	})
	listed := make(chan domain.Volume, 1)
	go func() {
		all, err := v.Volume(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
		}
		listed <- all
	}()
	<-asked
	do()
	close(changed)
	return <-listed
}

func eachFlavour(t *testing.T, play func(t *testing.T, home *targettest.Target, v *volume, b *rebuilt)) {
	t.Helper()
	t.Parallel()
	for _, flavour := range []simtarget.Flavour{simtarget.Fork, simtarget.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			t.Parallel()
			fabric := simtarget.NewFabric()
			home := targettest.Simulate(t, fabric, flavour)
			v := newVolume(t, home)
			v.members(t)
			play(t, home, v, prepare(t, v, openStore(t, targettest.Simulate(t, fabric, flavour))))
		})
	}
}

// TestListingBesideJoin: an answer that does not have the new member yet says nothing of it.
func TestListingBesideJoin(t *testing.T) {
	eachFlavour(t, func(t *testing.T, home *targettest.Target, v *volume, b *rebuilt) {
		var joined domain.Member
		listed := v.listBeside(t, home, func() { joined = b.cut(t, v) })
		require.NoError(t, listed.CheckUnbroken(joined))
		_, now := v.members(t)
		require.NoError(t, now.CheckUnbroken(joined))
	})
}

// TestListingBesideLeave: a member that has left is not one that was lost.
func TestListingBesideLeave(t *testing.T) {
	eachFlavour(t, func(t *testing.T, home *targettest.Target, v *volume, _ *rebuilt) {
		listed := v.listBeside(t, home, func() { require.NoError(t, v.Leave(t.Context(), v.heads[1])) })
		require.Len(t, listed.Members, 1)
		_, now := v.members(t)
		require.Len(t, now.Members, 1)
	})
}

// TestListingBesideRemake: a RAID that is deleted to be made again is not one that does not exist.
func TestListingBesideRemake(t *testing.T) {
	t.Parallel()
	home, v, b := joining(t)
	_, all := v.members(t)
	other := openMirror(t, home, all.Name)
	b.graft(t, v)
	deleted, asked := make(chan struct{}), make(chan struct{})
	var ours sync.Once
	home.Simulated().Inject(func(r simtarget.Request) (f simtarget.Fault) {
		switch r.Method {
		case "bdev_raid_create":
			close(deleted)
			f.Until = asked
		case "bdev_get_iostat":
			select {
			case <-deleted:
				ours.Do(func() { close(asked) })
			default:
			}
		}
		return f
	})
	joined := make(chan error, 1)
	go func() {
		_, err := v.Join(context.WithoutCancel(t.Context()), b.run, b.way)
		joined <- err
	}()
	<-deleted
	_, err := other.Volume(t.Context())
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.NotErrorIs(t, err, ports.ErrNotFound)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	now, err := v.Volume(ctx)
	require.NoError(t, err)
	require.Len(t, now.Members, 3)
	require.NoError(t, <-joined)
	now, err = other.Volume(t.Context())
	require.NoError(t, err)
	require.Len(t, now.Members, 3)
}
