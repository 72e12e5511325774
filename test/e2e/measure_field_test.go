package e2e

import (
	"fmt"
	"testing"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/internal/domain"
)

// fieldPoll is the interval at which other engines poll a copy.
const fieldPoll = 3 * time.Second

// rebuildOneAtATime rebuilds as other engines do today: from the root on, one snapshot
// after the other. A writable clone of the parent is exported and attached, the snapshot
// is copied into it, the copy is polled every fieldPoll, the export is closed, and the
// clone becomes the snapshot.
func rebuildOneAtATime(t *testing.T, s shape, from *targettest.Target, _ string, to *targettest.Target, snapshots []string) time.Duration {
	t.Helper()
	lvstore := to.NewStore(t, s.room())
	_, image := measuredImage(t, to, lvstore)
	source, destination := dial(t, from.Socket), dial(t, to.Socket)
	began := time.Now()
	sealed := make([]string, len(snapshots))
	var head string
	for i, parent := range s.parents {
		below := image
		if parent >= 0 {
			below = sealed[parent]
		}
		name := domain.InFlightLvolName(measuredCopy, fmt.Sprintf("%08x", i))
		destination.call("bdev_lvol_clone", spdktypes.BdevLvolCloneRequest{SnapshotName: below, CloneName: name}, &head)
		destination.call("bdev_lvol_resize", spdktypes.BdevLvolResizeRequest{Name: head, SizeInMib: uint64(s.clusters)}, nil)
		bdev, done := head, func() {}
		if from != to {
			x := exportRaw(t, source, destination)
			bdev, done = x.add(1, head), x.close
		}
		operation, _ := source.startCopy(snapshots[i], bdev)
		for poll := time.NewTicker(fieldPoll); ; {
			<-poll.C
			if source.copied(operation) {
				poll.Stop()
				break
			}
		}
		done()
		destination.call("bdev_lvol_snapshot", spdktypes.BdevLvolSnapshotRequest{LvolName: head, SnapshotName: domain.SnapshotLvolName(measuredCopy, fmt.Sprint("s", i))}, &sealed[i])
		destination.call("bdev_lvol_delete", spdktypes.BdevLvolDeleteRequest{Name: head}, nil)
	}
	destination.call("bdev_lvol_clone", spdktypes.BdevLvolCloneRequest{SnapshotName: sealed[len(sealed)-1], CloneName: measuredCopy}, &head)
	took := time.Since(began)
	require.NotEmpty(t, head)
	return took
}
