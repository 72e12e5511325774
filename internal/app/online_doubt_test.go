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
)

// doubtingMirror says of one member for a while that it may be about to drop it.
type doubtingMirror struct {
	*memory.Mirror

	head        string
	from, until time.Time
}

func (m *doubtingMirror) Volume(ctx context.Context) (domain.Volume, error) {
	v, err := m.Mirror.Volume(ctx)
	for i := range v.Members {
		if now := time.Now(); v.Members[i].Head == m.head && !m.from.IsZero() && v.Members[i].Mode != domain.ModeERR {
			v.Members[i].Since = m.from
			if now.Before(m.until) {
				v.Members[i].Reason = "an I/O failed"
			}
		}
	}
	return v, err
}

// TestMemberIsDoubtedBeforeTheCut has an I/O to a member fail right before the plan, or before the
// cut. If the mirror keeps it, that was a read that was corrected, and it stays a source.
func TestMemberIsDoubtedBeforeTheCut(t *testing.T) {
	for _, at := range []struct {
		party   liveParty
		method  string
		lasts   time.Duration
		dropped bool
	}{
		{partyMirror, "volume", 30 * time.Second, false},
		{partyDestination, "connect", 30 * time.Second, false},
		{partyMirror, "volume", 20 * time.Second, true},
		{partyDestination, "connect", 20 * time.Second, true},
		{partyDestination, "connect", time.Hour, false},
	} {
		t.Run(at.method+" "+at.lasts.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLiveFixture(t, 2, liveTree, memory.Config{})
				b.start(50 * time.Millisecond)
				defer b.clients.Stop()
				mirror := &doubtingMirror{Mirror: b.mirror, head: list(t, b.members[0], b.names[0]).Head.UUID}
				began := time.Now()
				doubts := onceAt(at.party, at.method, func() {
					mirror.from, mirror.until = time.Now(), time.Now().Add(at.lasts)
				})
				b.slowly(doubts)
				if at.dropped {
					time.AfterFunc(time.Second, func() { b.members[0].Kill() })
				}
				r := b.request()
				r.Mirror = mirror
				report, err := app.New(nil).RebuildOnline(t.Context(), r)
				if at.lasts == time.Hour {
					require.ErrorContains(t, err, "may lack writes, for a minute now: an I/O failed")
					return
				}
				require.NoError(t, err)
				require.Less(t, time.Since(began), at.lasts+10*time.Second)
				if at.dropped {
					require.Less(t, time.Since(began), at.lasts-5*time.Second)
				}
				require.Equal(t, at.dropped, report.Sources[0].State == app.SourceLost, report.Sources)
				b.stop()
				if at.dropped {
					b.members[0].Start()
				}
				b.requireWhole()
			})
		})
	}
}
