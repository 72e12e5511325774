package app_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func newViewsFixture(t *testing.T, flavour memory.Flavour) (*fixture, app.Request) {
	b := newFixture(t, memory.Config{Flavour: flavour, TotalClusters: 1000}, memory.Config{Flavour: flavour, TotalClusters: 1000})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 2)).build(fieldTree(10))
	return b, app.Request{
		Source: app.Site{Host: b.source, Replica: sourceName}, Destination: app.Site{Host: b.destination, Replica: copyName},
		Base: domain.ImageBase(imageName), Views: true,
	}
}

func TestEveryViewIsRead(t *testing.T) {
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		b, request := newViewsFixture(t, flavour)
		var read, all uint64
		request.Observer = told(func(e app.Event) {
			if e.Kind == app.EventReading {
				read, all = e.BytesDone, e.BytesTotal
			}
		})
		for range 2 { // the second has nothing to do but to read
			report, err := app.New(nil).Rebuild(t.Context(), request)
			require.NoError(t, err)
			require.EqualValues(t, 2*7*8*cluster, all)
			require.Equal(t, all, read)
			for _, side := range []struct {
				host    *memory.Host
				replica domain.Replica
				views   app.Views
			}{{b.source, report.Source, report.SourceViews}, {b.destination, report.Destination, report.DestinationViews}} {
				require.Len(t, side.views, 7)
				for _, l := range side.replica.Views() {
					require.Equal(t, sha(t, side.host, l.UUID), side.views[l.UUID])
				}
			}
		}
	}
}

// The release of what was
// received goes on beside the rest of the run, and must neither end what is read nor be
// the last one.
func TestViewsAreReadAfterExportsAreClosed(t *testing.T) {
	b, request := newViewsFixture(t, memory.Fork)
	var mu sync.Mutex
	last := make(map[*memory.Host]string)
	for _, host := range []*memory.Host{b.source, b.destination} {
		note := func(c memory.Call) {
			mu.Lock()
			defer mu.Unlock()
			last[host] = c.Method
		}
		inject(host, on("release").takes(20*time.Millisecond).doesTo(note), on("open").doesTo(note))
	}
	for range 2 {
		_, err := app.New(nil).Rebuild(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, map[*memory.Host]string{b.source: "release", b.destination: "release"}, last)
	}
}

// A byte of a copy is another one. Counts
// and parents are right, and where a host proves nothing, nothing else tells.
func TestReadingFindsHiddenDamage(t *testing.T) {
	for _, views := range []bool{false, true} {
		b, request := newViewsFixture(t, memory.Upstream)
		request.Views = views
		inject(b.destination, on("seal").of("snap21").once().doesTo(func(c memory.Call) {
			require.NoError(t, b.destination.WriteAt(c.UUID, []byte("x"), 3*cluster))
		}))
		report, err := app.New(nil).Rebuild(t.Context(), request)
		if !views {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ports.ErrCorrupt)
		require.Equal(t, app.OutcomeFailed, report.Outcome)
		var wrong []string
		for _, v := range report.Violations {
			require.Equal(t, domain.RuleData, v.Rule)
			require.Contains(t, v.Detail, "its bytes differ from the source's")
			wrong = append(wrong, v.Subject)
		}
		require.Equal(t, []string{"snap21", "snap22", "snap31"}, wrong, "and all that read through it")
	}
}

func TestViewsOfHurtSourceAreNotCompared(t *testing.T) {
	b, request := newViewsFixture(t, memory.Fork)
	source := list(t, b.source, sourceName)
	ancestor, _ := source.Snapshot("snap11")
	require.NoError(t, b.source.Graft(t.Context(), ancestor.Lvol.UUID, ""))
	request.Options.AcceptHurtSource = true
	report, err := app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)
	require.Empty(t, report.Violations)
}

func TestViewsThatCannotBeReadFailTheVerification(t *testing.T) {
	b, request := newViewsFixture(t, memory.Fork)
	head := list(t, b.source, sourceName).Head.UUID
	opened, err := b.source.Open(t.Context(), ports.Run{Replica: "vol-1", ID: "00000001"}, head)
	require.NoError(t, err)
	alive, err := b.source.Claim(t.Context(), "run 00000001")
	require.NoError(t, err)
	defer alive()
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, ports.ErrBusy)
	require.ErrorContains(t, err, "read the view of lvol "+sourceName)
	require.NoError(t, opened.Close())
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.NoError(t, err)

	request.Source.Host = struct{ ports.Host }{b.source}
	_, err = app.New(nil).Rebuild(t.Context(), request)
	require.ErrorIs(t, err, ports.ErrUnsupported)
}
