package memory_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

const (
	modelCluster = 64 // bytes
	modelSpace   = 40 // clusters
)

// model is a naive lvol: it stores every own cluster completely and resolves its bytes
// by recursion each time.
type model struct {
	parent   string
	readOnly bool
	own      [][]byte // nil: not own
}

type machine struct {
	host  *memory.Host
	lvols map[string]*model
	named int
}

// Random sequences of all operations that change bytes, compared with the naive model.
func TestBytesMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{
			host: memory.NewFabric().NewHost(memory.Config{
				Name: "disk-1", ClusterSize: modelCluster, TotalClusters: modelSpace, Seed: 1,
			}),
			lvols: make(map[string]*model),
		}
		t.Repeat(map[string]func(*rapid.T){
			"create":   m.create,
			"write":    m.write,
			"snapshot": m.snapshot,
			"seal":     m.seal,
			"graft":    m.graft,
			"clone":    m.clone,
			"delete":   m.delete,
			"merge":    m.merge,
			"copy":     m.copy,
			"resize":   m.resize,
			"":         m.check,
		})
	})
}

func (m *machine) name() string { m.named++; return fmt.Sprint("lvol-", m.named) }

func (m *machine) pick(t *rapid.T, label string, fits func(*model) bool) string {
	var fitting []string
	store, err := m.host.List(t.Context())
	require.NoError(t, err)
	for _, l := range store.Lvols { // in order: histories can be replayed
		if fits(m.lvols[l.UUID]) {
			fitting = append(fitting, l.UUID)
		}
	}
	if len(fitting) == 0 {
		t.Skip("none fits")
	}
	return rapid.SampledFrom(fitting).Draw(t, label)
}

func whichever(*model) bool    { return true }
func writable(l *model) bool   { return !l.readOnly }
func isSnapshot(l *model) bool { return l.readOnly }

func (m *machine) children(uuid string) (found []string) {
	for u, l := range m.lvols {
		if l.parent == uuid {
			found = append(found, u)
		}
	}
	return found
}

func (m *machine) hangsOn(uuid, ancestor string) bool {
	return uuid != "" && (uuid == ancestor || m.hangsOn(m.lvols[uuid].parent, ancestor))
}

func (m *machine) view(uuid string) []byte {
	l := m.lvols[uuid]
	view := make([]byte, len(l.own)*modelCluster)
	if l.parent != "" {
		copy(view, m.view(l.parent))
	}
	for i, content := range l.own {
		if content != nil {
			copy(view[i*modelCluster:], content)
		}
	}
	return view
}

func (m *machine) used() (n int) {
	for _, l := range m.lvols {
		n += l.count()
	}
	return n
}

func (l *model) count() (n int) {
	for _, content := range l.own {
		if content != nil {
			n++
		}
	}
	return n
}

func (m *machine) create(t *rapid.T) {
	clusters := rapid.IntRange(1, 6).Draw(t, "clusters")
	uuid, err := m.host.Create(t.Context(), m.name(), uint64(clusters*modelCluster))
	require.NoError(t, err)
	m.lvols[uuid] = &model{own: make([][]byte, clusters)}
}

func (m *machine) write(t *rapid.T) {
	uuid := m.pick(t, "lvol", writable)
	l := m.lvols[uuid]
	view := m.view(uuid)
	offset := rapid.IntRange(0, len(view)-1).Draw(t, "offset")
	length := rapid.IntRange(1, len(view)-offset).Draw(t, "length")
	p := bytes.Repeat([]byte{rapid.SampledFrom([]byte{0, 1, 2, 3}).Draw(t, "byte")}, length)
	copy(view[offset:], p)
	written, needed := make([][]byte, len(l.own)), 0
	for i := range l.own {
		written[i] = l.own[i]
		if i >= offset/modelCluster && i <= (offset+length-1)/modelCluster {
			if l.own[i] == nil {
				needed++
			}
			written[i] = bytes.Clone(view[i*modelCluster : (i+1)*modelCluster])
		}
	}
	err := m.host.WriteAt(uuid, p, uint64(offset))
	if m.used()+needed > modelSpace {
		require.ErrorIs(t, err, ports.ErrNoSpace)
		return
	}
	require.NoError(t, err)
	l.own = written
}

func (m *machine) snapshot(t *rapid.T) {
	uuid := m.pick(t, "lvol", writable)
	l := m.lvols[uuid]
	snapshot, err := m.host.Snapshot(t.Context(), uuid, m.name(), morning)
	require.NoError(t, err)
	m.lvols[snapshot] = &model{parent: l.parent, readOnly: true, own: l.own}
	l.parent, l.own = snapshot, make([][]byte, len(l.own))
}

func (m *machine) seal(t *rapid.T) {
	uuid := m.pick(t, "lvol", writable)
	sealed, err := m.host.Seal(t.Context(), uuid, m.name(), ports.SealRecord{Attributes: morning})
	require.NoError(t, err)
	m.lvols[sealed] = m.lvols[uuid]
	m.lvols[sealed].readOnly = true
	delete(m.lvols, uuid)
}

func (m *machine) graft(t *rapid.T) {
	uuid := m.pick(t, "lvol", whichever)
	parent := ""
	if rapid.Bool().Draw(t, "onto something") {
		parent = m.pick(t, "parent", isSnapshot)
	}
	if parent != uuid && m.hangsOn(parent, uuid) {
		require.Panics(t, func() { m.host.Graft(t.Context(), uuid, parent) })
		return
	}
	err := m.host.Graft(t.Context(), uuid, parent)
	if parent == uuid {
		require.ErrorIs(t, err, ports.ErrInvalid)
		return
	}
	require.NoError(t, err)
	m.lvols[uuid].parent = parent
}

func (m *machine) clone(t *rapid.T) {
	parent := m.pick(t, "snapshot", isSnapshot)
	clusters := len(m.lvols[parent].own) + rapid.IntRange(0, 2).Draw(t, "longer by")
	uuid, err := m.host.Clone(t.Context(), parent, m.name(), uint64(clusters*modelCluster), "")
	require.NoError(t, err)
	m.lvols[uuid] = &model{parent: parent, own: make([][]byte, clusters)}
}

func (m *machine) delete(t *rapid.T) {
	uuid := m.pick(t, "lvol", whichever)
	err := m.host.Delete(t.Context(), uuid)
	if len(m.children(uuid)) > 0 {
		require.ErrorIs(t, err, ports.ErrInvalid)
		return
	}
	require.NoError(t, err)
	delete(m.lvols, uuid)
}

func (m *machine) merge(t *rapid.T) {
	uuid := m.pick(t, "snapshot", isSnapshot)
	children := m.children(uuid)
	err := m.host.DeleteMerging(uuid)
	if len(children) > 1 {
		require.ErrorIs(t, err, ports.ErrInvalid)
		return
	}
	require.NoError(t, err)
	for _, child := range children {
		c := m.lvols[child]
		for i := range min(len(c.own), len(m.lvols[uuid].own)) {
			if c.own[i] == nil {
				c.own[i] = m.lvols[uuid].own[i]
			}
		}
		c.parent = m.lvols[uuid].parent
	}
	delete(m.lvols, uuid)
}

func (m *machine) copy(t *rapid.T) {
	source, into := m.pick(t, "source", isSnapshot), m.pick(t, "into", writable)
	peer, err := m.host.Peer(t.Context())
	require.NoError(t, err)
	address, err := m.host.Receive(t.Context(), run, into, peer)
	require.NoError(t, err)
	err = m.host.Copy(t.Context(), run, source, address, nil)
	require.NoError(t, m.host.Withdraw(t.Context(), run, into))
	from, to := m.lvols[source], m.lvols[into]
	if len(from.own) > len(to.own) {
		require.ErrorIs(t, err, ports.ErrInvalid)
		return
	}
	full := false
	for i, content := range from.own {
		if content == nil {
			continue
		}
		if to.own[i] == nil && m.used() == modelSpace {
			full = true // what came before stays
			break
		}
		to.own[i] = content
	}
	if full {
		require.ErrorIs(t, err, ports.ErrNoSpace)
		return
	}
	require.NoError(t, err)
}

func (m *machine) resize(t *rapid.T) {
	uuid := m.pick(t, "lvol", writable)
	clusters := rapid.IntRange(1, 6).Draw(t, "clusters")
	require.NoError(t, m.host.Resize(uuid, uint64(clusters*modelCluster)))
	l := m.lvols[uuid]
	own := make([][]byte, clusters)
	copy(own, l.own)
	l.own = own
}

func (m *machine) check(t *rapid.T) {
	store, err := m.host.List(t.Context())
	require.NoError(t, err)
	require.Len(t, store.Lvols, len(m.lvols))
	require.EqualValues(t, modelSpace-m.used(), store.FreeClusters)
	for _, l := range store.Lvols {
		want := m.lvols[l.UUID]
		require.Equal(t, want.parent, l.Parent)
		require.Equal(t, want.readOnly, l.ReadOnly)
		require.EqualValues(t, len(want.own)*modelCluster, l.Size)
		require.EqualValues(t, want.count(), l.Own.Count)

		view := m.view(l.UUID)
		got := make([]byte, len(view))
		require.NoError(t, m.host.ReadAt(l.UUID, got, 0))
		require.Equal(t, view, got)
		reader, size, err := m.host.View(l.UUID)
		require.NoError(t, err)
		require.Equal(t, l.Size, size)
		streamed, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, view, streamed)
		from := len(view) / 3
		require.NoError(t, m.host.ReadAt(l.UUID, got[from:], uint64(from)))
		require.Equal(t, view[from:], got[from:])
	}
}
