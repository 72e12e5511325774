package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// otherLvol is an lvol of a host, as a bdev.
type otherLvol struct {
	host *memory.Host
	uuid string
}

func (o otherLvol) ReadAt(p []byte, offset int64) (int, error) {
	return len(p), o.host.ReadAt(o.uuid, p, uint64(offset))
}

func TestExternalSnapshotIsAnLvolOfTheSameStore(t *testing.T) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", ClusterSize: kib4})
	x, err := h.Create(t.Context(), "x", 2*kib4)
	require.NoError(t, err)
	require.NoError(t, h.WriteAt(x, []byte{7}, kib4))
	y, err := h.Create(t.Context(), "y", 2*kib4)
	require.NoError(t, err)
	memory.BlobstoreOf(h).SetExternal(y, otherLvol{h, x})
	p := make([]byte, 1)
	require.NoError(t, h.ReadAt(y, p, kib4))
	require.Equal(t, []byte{7}, p)
	require.NoError(t, h.WriteAt(y, []byte{8}, kib4+1))
	require.NoError(t, h.ReadAt(y, p, kib4))
	require.Equal(t, []byte{7}, p, "it is copied on write")
}
