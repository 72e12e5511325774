package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A host that has checksums and leaves one out would have its snapshot pass for equal
// without a word.
func TestAuditNamesSnapshotsThatAHostDidNotProve(t *testing.T) {
	b := newFixture(t, memory.Config{}, memory.Config{})
	p := newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4))
	p.build(fieldTree(1))
	engine := app.New(nil)
	source, destination := app.Site{Host: b.source, Replica: sourceName}, app.Site{Host: b.destination, Replica: copyName}
	_, err := engine.Rebuild(t.Context(), app.Request{Source: source, Destination: destination})
	require.NoError(t, err)
	notices := func(request app.AuditRequest) []string {
		report, err := engine.Audit(t.Context(), request)
		require.NoError(t, err)
		require.False(t, report.Wrong())
		require.Len(t, report.Volumes, 1)
		return report.Volumes[0].Notices
	}
	require.Empty(t, notices(app.AuditRequest{Sites: []app.Site{source, destination}}))

	destination.Host = &silent{b.destination, func(name string) bool {
		return name == domain.SnapshotLvolName(copyName, "snap12") || name == domain.SnapshotLvolName(copyName, "snap21")
	}}
	request := app.AuditRequest{Sites: []app.Site{source, destination}}
	require.Equal(t, []string{
		"the host of replica " + copyName + " on lvstore disk-2 gave no checksum of snapshots snap12, snap21: they were compared by name, parent, size and clusters alone",
	}, notices(request))
	request.Counts = true
	require.Empty(t, notices(request), "no proof was asked for")
}
