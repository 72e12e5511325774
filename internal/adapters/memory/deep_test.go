package memory_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// onlyReader hides WriteTo of a view, so that Read is tested.
type onlyReader struct{ io.Reader }

func sha256Of(t *testing.T, r io.Reader) string {
	t.Helper()
	sum := sha256.New()
	_, err := io.Copy(sum, onlyReader{r})
	require.NoError(t, err)
	return hex.EncodeToString(sum.Sum(nil))
}

// chain writes one cluster and takes a snapshot, repeatedly.
func chain(tb testing.TB, h *memory.Host, snapshots int) (head string, all []string) {
	tb.Helper()
	head, err := h.Create(tb.Context(), "vol-1-r-0a1b2c3d", 16*kib4)
	require.NoError(tb, err)
	for i := range snapshots {
		require.NoError(tb, h.WriteAt(head, []byte{byte(i), byte(i >> 8), byte(i >> 16), 1}, uint64(i%16)*kib4))
		uuid, err := h.Snapshot(tb.Context(), head, fmt.Sprint("vol-1-r-0a1b2c3d-snap-", i), morning)
		require.NoError(tb, err)
		all = append(all, uuid)
	}
	return head, all
}

func TestDeepChain(t *testing.T) {
	const snapshots = 20_000
	h := oneHost()
	head, all := chain(t, h, snapshots)
	got := make([]byte, 4)
	for i := snapshots - 16; i < snapshots; i++ {
		require.NoError(t, h.ReadAt(head, got, uint64(i%16)*kib4))
		require.Equal(t, []byte{byte(i), byte(i >> 8), byte(i >> 16), 1}, got)
	}
	store, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, store.Lvols, snapshots+1)
	require.Equal(t, all[snapshots-1], store.Lvols[0].Parent)
}

func TestViewReadAndWriteToAgree(t *testing.T) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", ClusterSize: 200 << 10})
	bytes := make([]byte, 5*200<<10)
	l, err := h.Create(t.Context(), "head", uint64(len(bytes)))
	require.NoError(t, err)
	for at, text := range map[uint64]string{0: "first", 199 << 10: "some bytes", 4 * 200 << 10: "others", 4*200<<10 + 150<<10: "last"} {
		require.NoError(t, h.WriteAt(l, []byte(text), at))
		copy(bytes[at:], text)
	}
	sum := sha256.Sum256(bytes)
	got, err := h.ViewSHA256(l)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(sum[:]), got)
	r, _, err := h.View(l)
	require.NoError(t, err)
	require.Equal(t, got, sha256Of(t, r))
}

func BenchmarkList(b *testing.B) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", ClusterSize: kib4})
	chain(b, h, 100_000)
	for b.Loop() {
		_, err := h.List(b.Context())
		require.NoError(b, err)
	}
}

func BenchmarkViewOfADeepChain(b *testing.B) {
	h := memory.NewFabric().NewHost(memory.Config{Name: "disk-1", ClusterSize: kib4})
	head, _ := chain(b, h, 100_000)
	for b.Loop() {
		_, err := h.ViewSHA256(head)
		require.NoError(b, err)
	}
}

// A rebuild of 1,000 snapshots of one 4 KiB cluster, with the verbs only.
func BenchmarkRebuild1000(b *testing.B) {
	from, to := twoHosts()
	_, all := chain(b, from, 1000)
	peer, err := from.Peer(b.Context())
	require.NoError(b, err)
	for b.Loop() {
		parent := ""
		var made []string
		for i, snapshot := range all {
			l, err := to.Create(b.Context(), "filling", 16*kib4)
			require.NoError(b, err)
			address, err := to.Receive(b.Context(), run, l, peer)
			require.NoError(b, err)
			require.NoError(b, from.Copy(b.Context(), run, snapshot, address, nil))
			require.NoError(b, to.Withdraw(b.Context(), run, l))
			require.NoError(b, to.Graft(b.Context(), l, parent))
			parent, err = to.Seal(b.Context(), l, fmt.Sprint("s", i), ports.SealRecord{Attributes: morning})
			require.NoError(b, err)
			made = append(made, parent)
		}
		for i := len(made) - 1; i >= 0; i-- {
			require.NoError(b, to.Delete(b.Context(), made[i]))
		}
	}
}
