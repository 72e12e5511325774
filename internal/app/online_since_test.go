package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// timelessMirror does not tell since when a head that joins is a member.
type timelessMirror struct{ ports.Mirror }

func (m timelessMirror) Join(ctx context.Context, run ports.Run, at ports.Address) (domain.Member, error) {
	joined, err := m.Mirror.Join(ctx, run, at)
	joined.Since = time.Time{}
	return joined, err
}

// TestMirrorWithoutSinceIsCutOnce: no other cut would make it tell, and the first one is undone in its
// freeze.
func TestMirrorWithoutSinceIsCutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(5 * time.Millisecond)
		defer b.clients.Stop()
		before := list(t, b.members[0], b.names[0])
		r := b.request()
		r.Mirror = timelessMirror{b.mirror}
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.ErrorIs(t, err, ports.ErrInvalid)
		require.ErrorContains(t, err, "the mirror did not tell since when the live head is a member")
		require.Equal(t, 1, report.Online.Freezes)
		b.stop()
		volume, err := b.mirror.Volume(t.Context())
		require.NoError(t, err)
		require.Len(t, volume.Members, 2)
		require.Len(t, list(t, b.members[0], b.names[0]).Snapshots, len(before.Snapshots), "the cut was taken away again")
		require.Nil(t, list(t, b.to, copyName).Head)
	})
}

// forgetfulMirror does not tell any more since when a head is a member.
type forgetfulMirror struct {
	ports.Mirror

	head    string
	forgets bool
}

func (m *forgetfulMirror) Volume(ctx context.Context) (domain.Volume, error) {
	v, err := m.Mirror.Volume(ctx)
	for i := range v.Members {
		if m.forgets && v.Members[i].Head == m.head {
			v.Members[i].Since = time.Time{}
		}
	}
	return v, err
}

// TestSinceOfASourceIsForgottenBeforeTheCut: the member may have missed a write since the plan was
// made, so that is made again. Then it is a source like others of which nobody knows since when.
func TestSinceOfASourceIsForgottenBeforeTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLiveFixture(t, 2, liveTree, memory.Config{})
		b.start(5 * time.Millisecond)
		defer b.clients.Stop()
		mirror := &forgetfulMirror{Mirror: b.mirror, head: list(t, b.members[1], b.names[1]).Head.UUID}
		b.slowly(onceAt(partyMember, "snapshot", func() { mirror.forgets = true }))
		r := b.request()
		r.Mirror = mirror
		began := time.Now()
		report, err := app.New(nil).RebuildOnline(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, 3, report.Online.Freezes, "two cuts and the landing")
		require.NotEqual(t, app.SourceLost, report.Sources[1].State)
		require.Less(t, time.Since(began), time.Minute, "the run waits for no loss")
		b.stop()
		b.requireWhole()
	})
}
