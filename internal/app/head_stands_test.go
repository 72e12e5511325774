package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

// TestSnapshotsUnderAHeadStayAfterNoSpace: a view could not be read after the head was made,
// so the run planned again. That plan had nothing to do, failed for lack of space, and its
// cleanup took sealed snapshots from under the head.
func TestSnapshotsUnderAHeadStayAfterNoSpace(t *testing.T) {
	b := newFixture(t, memory.Config{Flavour: memory.Upstream}, memory.Config{Flavour: memory.Upstream})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	headMade := on("clone").of(copyName)
	inject(b.destination, headMade)
	lost := on("read").after(headMade).once().fails(ports.ErrNotFound)
	full := on("open").after(lost).fails(ports.ErrNoSpace)
	inject(b.source, lost, full)
	request := b.request()
	request.Views = true
	_, err := app.New(nil).Rebuild(context.Background(), request)
	require.ErrorIs(t, err, ports.ErrNoSpace)
	require.NotNil(t, list(t, b.destination, copyName).Head)
	require.Len(t, list(t, b.destination, copyName).Snapshots, fieldSnapshots)
	require.Positive(t, full.calls())
}
