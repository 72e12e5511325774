package memory

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Blobstore is the store of a host as a target sees it, below the ports: what a
// simulated target does with it and no engine would ask for. Its methods are
// neither counted nor injected into, and take no time.
type Blobstore struct{ h *Host }

// BlobstoreOf is what lies below the host's ports.
func BlobstoreOf(h *Host) *Blobstore { return &Blobstore{h} }

// find is the lvol, also one that a delete has hidden.
func (b *Blobstore) find(uuid string) (*lvol, error) {
	l, err := b.h.find(uuid)
	if err != nil {
		for hidden := range b.h.hidden {
			if hidden.uuid == uuid {
				return hidden, nil
			}
		}
	}
	return l, err
}

// Hold has the lvols, also hidden ones, take part in one operation until release is called.
// ErrBusy where one of them takes part in another; then none is held.
func (b *Blobstore) Hold(uuids ...string) (release func(), err error) {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	var c change
	for _, uuid := range uuids {
		l, err := b.find(uuid)
		if err != nil {
			return nil, h.failed("hold "+uuid, err)
		}
		c.locks = append(c.locks, l)
	}
	if c.busy() {
		return nil, h.failed(fmt.Sprintf("hold %v", uuids), ports.ErrBusy)
	}
	op := h.begin(c)
	return func() { h.unlock(op) }, nil
}

// Create makes an empty writable lvol, of no cluster if size is 0. Sizes here are
// whole clusters.
func (b *Blobstore) Create(name string, size uint64) (uuid string, err error) {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.freeName(name); err != nil {
		return "", h.failed("create "+name, err)
	}
	return h.add(name, size, nil).uuid, nil
}

// Clone makes an empty writable lvol of the snapshot's size that hangs on it.
func (b *Blobstore) Clone(snapshot, name string) (uuid string, err error) {
	h := b.h
	what := fmt.Sprintf("clone %s as %s", h.word(snapshot), name)
	h.mu.Lock()
	defer h.mu.Unlock()
	parent, err := h.findSnapshot(snapshot)
	if err == nil {
		err = h.freeName(name)
	}
	if err != nil {
		return "", h.failed(what, err)
	}
	return h.add(name, parent.size, parent).uuid, nil
}

// Snapshot moves the lvol's clusters and what it hangs on into a snapshot, which
// it hangs on afterwards.
func (b *Blobstore) Snapshot(uuid, name string) (snapshot string, err error) {
	h := b.h
	what := fmt.Sprintf("snapshot %s as %s", h.word(uuid), name)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.findWritable(uuid)
	if err == nil {
		err = h.freeName(name)
	}
	if err != nil {
		return "", h.failed(what, err)
	}
	made := h.frozen(l, name, domain.Attributes{})
	l.hang(made)
	return made.uuid, nil
}

// SetParent hangs the lvol, also a hidden one, on the parent; "" is none. It panics
// where the parent hangs on the lvol.
func (b *Blobstore) SetParent(uuid, parent string) error {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	child, err := b.find(uuid)
	var under *lvol
	if err == nil && parent != "" {
		under, err = b.find(parent)
	}
	if err != nil {
		return b.h.failed("set the parent of "+uuid, err)
	}
	child.mustNotCarry(under)
	child.hang(under)
	child.external = nil
	return nil
}

// Resize is Host.Resize, down to no cluster.
func (b *Blobstore) Resize(uuid string, size uint64) error {
	h := b.h
	what := fmt.Sprintf("resize %s to %d bytes", h.word(uuid), size)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.findWritable(uuid)
	if err == nil && l.busy != nil {
		err = ports.ErrBusy
	}
	if err == nil {
		h.resize(l, size)
	}
	return h.failed(what, err)
}

// Reload gives any lvol another size, a snapshot too: that which is on its disk.
func (b *Blobstore) Reload(uuid string, size uint64) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if l, err := b.find(uuid); err == nil {
		b.h.resize(l, size)
	}
}

// Look is what List would say of one lvol, also of a hidden one; the zero Lvol
// where there is none.
func (b *Blobstore) Look(uuid string) domain.Lvol {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	l, err := b.find(uuid)
	if err != nil {
		return domain.Lvol{}
	}
	return l.listed()
}

// Clusters are the own ones of an lvol at a moment.
type Clusters struct {
	Positions []uint64 // ascending
	own       map[uint64]cluster
}

// Read fills p from the beginning of the cluster at that position.
func (c Clusters) Read(position uint64, p []byte) { c.own[position].read(p, 0) }

// Sum writes what tells the content at that position from any other: its bytes without
// the zeros at its end, and how many they are.
func (c Clusters) Sum(position uint64, w io.Writer) { writeUint64(w, c.own[position].sum(w)) }

// Clusters are the own ones of an lvol now, also of a hidden one; none where there is
// none. They stay as they are whatever becomes of the lvol.
func (b *Blobstore) Clusters(uuid string) Clusters {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	l, err := b.find(uuid)
	if err != nil {
		return Clusters{}
	}
	return Clusters{positions(l.own), maps.Clone(l.own)}
}

// Free is the number of clusters that nothing owns.
func (b *Blobstore) Free() uint64 {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	return b.h.freeClusters()
}

// Clones are the UUIDs of what hangs on the lvol and is listed, in the order in
// which they were made.
func (b *Blobstore) Clones(uuid string) []string {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	l, ok := b.h.lvols[uuid]
	if !ok || l.children == 0 {
		return nil
	}
	var clones []*lvol
	for _, other := range b.h.lvols {
		if other.parent == l {
			clones = append(clones, other)
		}
	}
	slices.SortFunc(clones, func(x, y *lvol) int { return int(x.place) - int(y.place) })
	uuids := make([]string, len(clones))
	for i, clone := range clones {
		uuids[i] = clone.uuid
	}
	return uuids
}

// Children is how many lvols hang on one, also hidden ones.
func (b *Blobstore) Children(uuid string) int {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	l, err := b.find(uuid)
	if err != nil {
		return 0
	}
	return l.children
}

// Destroy deletes an lvol as bdev_lvol_delete does: one with a clone merges into
// it (DeleteMerging), and one that is busy, or whose clone is, answers ErrBusy
// and is hidden all the same, until Restart.
func (b *Blobstore) Destroy(uuid string) error {
	h := b.h
	what := "destroy " + h.word(uuid)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return h.failed(what, err)
	}
	child, err := h.onlyChild(l)
	if err == nil && (change{locks: []*lvol{l}, parent: child}).busy() {
		err = ports.ErrBusy
	}
	switch {
	case err == nil:
		if child != nil {
			h.merge(l, child)
		}
		h.drop(l)
	case l.children <= 1:
		h.hide(l)
	}
	return h.failed(what, err)
}

// Rename gives any lvol another name, a snapshot too, as the Longhorn branch
// does.
func (b *Blobstore) Rename(uuid, name string) error {
	h := b.h
	what := fmt.Sprintf("rename %s to %s", h.word(uuid), name)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err == nil {
		err = h.freeName(name)
	}
	if err != nil {
		return h.failed(what, err)
	}
	h.rename(l, name)
	return nil
}

// Decouple copies the clusters that the parent owns and the lvol lacks into the
// lvol, which hangs on the grandparent afterwards. ErrInvalid without a parent,
// ErrNoSpace where they do not fit; then nothing was changed.
func (b *Blobstore) Decouple(uuid string) error {
	return b.fill(uuid, "decouple", lackingOf(b.h), func(l *lvol) {
		if l.parent != nil {
			l.external = l.parent.external
			l.hang(l.parent.parent)
			return
		}
		l.external = nil
	})
}

// Copy is Decouple for an lvol that stays where it hangs.
func (b *Blobstore) Copy(uuid string) error {
	return b.fill(uuid, "copy into", lackingOf(b.h), func(*lvol) {})
}

// lackingOf finds what an lvol lacks of what its parent owns.
func lackingOf(h *Host) func(l *lvol) (map[uint64]cluster, error) {
	return func(l *lvol) (map[uint64]cluster, error) {
		switch {
		case l.external != nil:
			return resolve(l, 0, l.clusters(h), h.config.ClusterSize)
		case l.parent == nil:
			return nil, fmt.Errorf("%s has no parent: %w", l.name, ports.ErrInvalid)
		}
		lacking := make(map[uint64]cluster)
		for i, content := range l.parent.own {
			if i < l.clusters(h) {
				lacking[i] = content
			}
		}
		return lacking, nil
	}
}

// Inflate makes every cluster the lvol's own, and sets it loose. ErrNoSpace
// where they do not fit; then nothing was changed.
func (b *Blobstore) Inflate(uuid string) error {
	return b.fill(uuid, "inflate", func(l *lvol) (map[uint64]cluster, error) {
		all, err := resolve(l, 0, l.clusters(b.h), b.h.config.ClusterSize)
		if err != nil {
			return all, err
		}
		for i := range l.clusters(b.h) {
			if _, there := all[i]; !there {
				all[i] = nil
			}
		}
		return all, nil
	}, func(l *lvol) {
		l.external = nil
		l.hang(nil)
	})
}

// fill gives the lvol a map of its own, with what it lacks. What can be read becomes
// its own, also where something else cannot.
func (b *Blobstore) fill(uuid, what string, lacking func(*lvol) (map[uint64]cluster, error), after func(*lvol)) error {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return h.failed(what+" "+uuid, err)
	}
	content, unread := lacking(l)
	if content == nil {
		return h.failed(what+" "+l.name, unread)
	}
	maps.Copy(content, l.own)
	needed := uint64(len(content) - len(l.own))
	if needed > h.freeClusters() {
		return h.failed(what+" "+l.name, ports.ErrNoSpace)
	}
	h.used += needed
	l.own = content
	if unread != nil {
		return h.failed(what+" "+l.name, fmt.Errorf("%w: %w", ports.ErrInvalid, unread))
	}
	after(l)
	return nil
}

// SetExternal tells where the lvol reads what it has not, instead of where it
// did; nil: nowhere. It must not have a parent.
func (b *Blobstore) SetExternal(uuid string, outside io.ReaderAt) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if l, ok := b.h.lvols[uuid]; ok {
		l.external = nil
		if outside != nil {
			l.external = &external{ReaderAt: outside}
		}
	}
}

// Blob is an lvol as it is kept elsewhere.
type Blob struct {
	UUID     string
	Name     string
	Parent   string // its UUID, "" for none
	Size     uint64 // bytes
	ReadOnly bool
	Own      map[uint64][]byte // whole clusters, by position; taken over
}

// Restore puts lvols into an empty store, in that order. A parent may come after
// its clones.
func (b *Blobstore) Restore(blobs []Blob) error {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, blob := range blobs {
		l := &lvol{uuid: blob.UUID, name: blob.Name, size: blob.Size, readOnly: blob.ReadOnly, place: h.made}
		h.made++
		if len(blob.Own) > 0 {
			l.own = make(map[uint64]cluster, len(blob.Own))
			for i, content := range blob.Own {
				l.own[i] = newCluster(content)
			}
		}
		h.used += uint64(len(l.own))
		h.lvols[l.uuid], h.names[l.name] = l, l
	}
	for _, blob := range blobs {
		if blob.Parent == "" {
			continue
		}
		parent, err := h.find(blob.Parent)
		if err != nil {
			return h.failed("restore "+blob.Name, err)
		}
		h.lvols[blob.UUID].hang(parent)
	}
	return nil
}
