package app_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What cannot be done safely is refused before anything changes: both hosts are as they
// were, the error says why, and the report that nothing was changed.
func TestRefusedBeforeAnythingChanges(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, b *fixture, r *app.Request)
		says  string
	}{
		{"another image is said", func(_ *testing.T, _ *fixture, r *app.Request) { r.Base = domain.ImageBase("other") }, "other"},
		{"no image is said", func(_ *testing.T, _ *fixture, r *app.Request) { r.Base = domain.NoBase() }, "image"},
		{"the destination is the source", func(_ *testing.T, _ *fixture, r *app.Request) { r.Destination = r.Source }, "both source and destination"},
		{"there is no such source", func(_ *testing.T, _ *fixture, r *app.Request) { r.Source.Replica = "nope" }, "replica nope not found"},
		{"the source has no head", func(t *testing.T, b *fixture, _ *app.Request) {
			require.NoError(t, b.source.Delete(ctx, list(t, b.source, sourceName).Head.UUID))
		}, "no head"},
		{"the source lost its image", func(t *testing.T, b *fixture, r *app.Request) {
			r.Base = domain.ImageBase(imageName)
			ancestor, _ := list(t, b.source, sourceName).Snapshot("snap11")
			require.NoError(t, b.source.Graft(ctx, ancestor.Lvol.UUID, ""))
		}, "lost"},
		{"a part of the source's bytes is outside of its lvstore", func(t *testing.T, b *fixture, _ *app.Request) {
			outside, err := b.source.CloneExternal("vol-9-r-0a1b2c3d", "nvme0n1", make([]byte, 8*cluster))
			require.NoError(t, err)
			_, err = b.source.Snapshot(ctx, outside, domain.SnapshotLvolName(sourceName, "outside"), minute(1))
			require.NoError(t, err)
		}, "external snapshot nvme0n1"},
		{"somebody uses the destination's head", func(t *testing.T, b *fixture, _ *app.Request) {
			require.NoError(t, b.destination.Use(list(t, b.destination, copyName).Head.UUID, domain.User{Kind: domain.UserRAID, Name: "raid-vol-1"}))
		}, "a base bdev of RAID raid-vol-1"},
		{"a linked clone of somebody else hangs on what has to go", func(t *testing.T, b *fixture, _ *app.Request) {
			outdated, _ := list(t, b.destination, copyName).Snapshot("snap12")
			_, err := b.destination.Clone(ctx, outdated.Lvol.UUID, "vol-77-r-0a1b2c3d", 8*cluster, "")
			require.NoError(t, err)
		}, "vol-77-r-0a1b2c3d"},
		{"the store has other clusters", func(_ *testing.T, _ *fixture, r *app.Request) {
			r.Destination.Host = memory.NewFabric().NewHost(memory.Config{Name: "disk-2", ClusterSize: 2 * cluster})
		}, "cluster"},
		{"there is no room", func(_ *testing.T, b *fixture, r *app.Request) { r.Options.ReservePercent = 100 }, "free"},
		{"no copies at once", func(_ *testing.T, _ *fixture, r *app.Request) { r.Parallel = -1 }, "at least 1"},
		{"a limit that the host cannot keep", func(_ *testing.T, b *fixture, r *app.Request) {
			r.Destination.Host = stepped{b.destination}
			r.Bandwidth = []*app.Bandwidth{app.NewBandwidth(1)}
		}, "bandwidth"},
		{"another process is at work", func(_ *testing.T, b *fixture, r *app.Request) { r.Destination.Host = claimed{b.destination} }, "another"},
		{"a replica's name that is one of an lvol in flight", func(_ *testing.T, _ *fixture, r *app.Request) {
			r.Destination.Replica = "vol-1-r-4e5f6a7b-rebuilding"
		}, "in-flight"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, request := newDamagedFixture(t, memory.Fork, memory.Fork)
			test.spoil(t, b, &request)
			source, destination := contents(t, b.source), contents(t, b.destination)
			changing := on("").where(func(c memory.Call) bool {
				return !slices.Contains([]string{"list", "look", "prove", "peer", "claim", "opened", "count", "describe"}, c.Method)
			}).doesTo(func(c memory.Call) { t.Errorf("%s was asked for", c.Method) })
			inject(b.source, changing)
			inject(b.destination, changing)
			report, err := app.New(nil).Rebuild(ctx, request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, test.says)
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			require.Zero(t, changing.calls())
			b.source.Inject(nil)
			b.destination.Inject(nil)
			require.Equal(t, source, contents(t, b.source))
			require.Equal(t, destination, contents(t, b.destination))
		})
	}
}

var _ ports.LeastLimiter = stepped{}
