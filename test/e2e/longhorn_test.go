package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A replica of Longhorn's engine, among the other lvols of its lvstore, is rebuilt over the
// leftovers of an interrupted rebuild, and one that lost its image is repaired. Foreign
// lvols do not change.
func TestLonghornVolumes(t *testing.T) {
	onEach(t, within, func(t *testing.T, target, _ *targettest.Target) {
		if !newPlace(t, target, 8).store(t).Records {
			t.Skip("Longhorn's engine does not run on such a target: it keeps no xattrs")
		}
		source := openPlace(t, target, targettest.MakeLonghornStore(t, target))
		destination := openPlace(t, target, targettest.MakeLonghornStore(t, target))
		for _, p := range []*place{source, destination} {
			image, ok := p.store(t).BackingImage("ubuntu")
			require.True(t, ok)
			p.image = image.Lvol.UUID
		}
		const from, to, hurt = targettest.LonghornWhole, targettest.LonghornRebuilt, targettest.LonghornHurt
		others := destination.lvolsBut(t, to, hurt)

		rebuild := program.startRebuild(t, source.address(from), destination.address(to), "--confirm", to) // of another volume; it warns of what is degraded
		r, status := rebuild.result(t)
		require.Zero(t, status, "%+v", r)
		require.Contains(t, rebuild.stderr.String(), "degraded")
		requireRebuilt(t, source, from, destination, to)
		source.requireAsItWas(t, from)
		for _, name := range targettest.LonghornSnapshots[:2] {
			require.Equal(t, "keep", r.actions()[name], "%s was finished", name)
		}
		require.Equal(t, "copy", r.actions()[targettest.LonghornSnapshots[2]])
		require.Equal(t, others, destination.lvolsBut(t, to, hurt), "what belongs to others")

		lost := destination.replica(t, hurt)
		ancestor, _ := lost.Snapshot(targettest.LonghornSnapshots[0])
		require.Empty(t, ancestor.Lvol.Parent)
		repaired := program.do(t, "repair", destination.address(hurt), "--image", "ubuntu")
		require.Zero(t, repaired["copiedBytes"])
		whole := destination.replica(t, hurt)
		ancestor, _ = whole.Snapshot(targettest.LonghornSnapshots[0])
		require.Equal(t, destination.image, ancestor.Lvol.Parent)
		view := destination.view(t, ancestor.Lvol)
		require.Equal(t, bytes.Repeat([]byte{1}, clusterSize), view[:clusterSize], "its own")
		require.Equal(t, bytes.Repeat([]byte{7}, clusterSize), view[clusterSize:2*clusterSize], "the image's")
		require.Equal(t, others, destination.lvolsBut(t, to, hurt), "what belongs to others")

		// An image whose download failed does not count as one.
		failed, status := program.startRebuild(t, source.address(from), destination.address("vol-9-r-99999999"), "--image", "broken").result(t)
		require.Equal(t, 1, status)
		require.Equal(t, "refused", failed.Outcome)

		// A linked clone, onto the entry point that Longhorn's engine has made there.
		const clone, rebuilt = targettest.LonghornClone, "vol-2-r-99999999"
		failed, status = program.startRebuild(t, source.address(clone), destination.address(rebuilt), "--no-image").result(t)
		require.Equal(t, 1, status)
		require.Contains(t, failed.Error, "volume vol-1")
		require.Equal(t, others, destination.lvolsBut(t, to, hurt))
		r, status = program.startRebuild(t, source.address(clone), destination.address(rebuilt)).result(t)
		require.Zero(t, status, "%+v", r)
		requireEqual(t, source, clone, destination, rebuilt)
		require.Equal(t, destination.ancestor(t, clone).Parent, destination.ancestor(t, rebuilt).Parent)
		source.requireHealthy(t, clone)
		destination.requireHealthy(t, rebuilt)
		require.Equal(t, others, destination.lvolsBut(t, to, hurt, rebuilt))
	})
}

// lvolsBut are all listed lvols that do not belong to these replicas.
func (p *place) lvolsBut(t *testing.T, replicas ...string) (others []domain.Lvol) {
	t.Helper()
	for _, l := range p.store(t).Lvols {
		theirs := false
		for _, replica := range replicas {
			theirs = theirs || strings.HasPrefix(l.Name, replica)
		}
		if !theirs {
			others = append(others, l)
		}
	}
	return others
}
