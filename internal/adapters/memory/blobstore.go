package memory

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Blobstore gives a simulated target access to a host's store below the ports, for
// operations that no engine calls. Its methods are not counted, get no injected faults
// and take no time.
type Blobstore struct{ h *Host }

// BlobstoreOf is the store below the host's ports.
func BlobstoreOf(h *Host) *Blobstore { return &Blobstore{h} }

// find finds an lvol, also one that a delete has hidden.
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

// Hold locks the lvols, also hidden ones, as one operation does, until release is
// called. ErrBusy if one of them is busy; then none is locked.
func (b *Blobstore) Hold(uuids ...string) (release func(), err error) {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	var c change
	for _, uuid := range uuids {
		l, err := b.find(uuid)
		if err != nil {
			return nil, h.wrap("hold "+uuid, err)
		}
		c.locks = append(c.locks, l)
	}
	if c.busy() {
		return nil, h.wrap(fmt.Sprintf("hold %v", uuids), ports.ErrBusy)
	}
	op := h.begin(c)
	return func() { h.unlock(op) }, nil
}

// Create creates an empty writable lvol, of no cluster if size is 0. Sizes here are
// whole clusters.
func (b *Blobstore) Create(name string, size uint64) (uuid string, err error) {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.checkName(name); err != nil {
		return "", h.wrap("create "+name, err)
	}
	return h.add(name, size, nil).uuid, nil
}

// Clone creates an empty writable clone of the snapshot, of the same size.
func (b *Blobstore) Clone(snapshot, name string) (uuid string, err error) {
	what := fmt.Sprintf("clone %s as %s", b.h.nameOrUUID(snapshot), name)
	err = b.h.with(what, b.h.findSnapshot, snapshot, func(parent *lvol) error {
		if err := b.h.checkName(name); err != nil {
			return err
		}
		uuid = b.h.add(name, parent.size, parent).uuid
		return nil
	})
	return uuid, err
}

// Snapshot moves the lvol's clusters and its parent into a snapshot, which becomes its
// parent.
func (b *Blobstore) Snapshot(uuid, name string) (snapshot string, err error) {
	what := fmt.Sprintf("snapshot %s as %s", b.h.nameOrUUID(uuid), name)
	err = b.h.with(what, b.h.findWritable, uuid, func(l *lvol) error {
		if err := b.h.checkName(name); err != nil {
			return err
		}
		made := b.h.frozen(l, name, domain.Attributes{})
		l.setParent(made)
		snapshot = made.uuid
		return nil
	})
	return snapshot, err
}

// SetParent sets the parent of the lvol, also of a hidden one; "" is none. It panics if
// the parent descends from the lvol.
func (b *Blobstore) SetParent(uuid, parent string) error {
	return b.h.with("set the parent of "+uuid, b.find, uuid, func(child *lvol) (err error) {
		var newParent *lvol
		if parent != "" {
			if newParent, err = b.find(parent); err != nil {
				return err
			}
		}
		child.regraft(newParent)
		return nil
	})
}

// Resize is Host.Resize, down to no cluster.
func (b *Blobstore) Resize(uuid string, size uint64) error {
	what := fmt.Sprintf("resize %s to %d bytes", b.h.nameOrUUID(uuid), size)
	return b.h.with(what, b.h.findWritable, uuid, func(l *lvol) error { return b.h.resizeIdle(l, size) })
}

// Reload sets the size of any lvol, also of a snapshot, as a reload from disk does.
func (b *Blobstore) Reload(uuid string, size uint64) {
	b.use(uuid, func(l *lvol) { b.h.resize(l, size) })
}

// use calls do with an lvol, also a hidden one, if it is there.
func (b *Blobstore) use(uuid string, do func(*lvol)) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if l, err := b.find(uuid); err == nil {
		do(l)
	}
}

// Look returns one lvol as List does, also a hidden one; the zero Lvol if there is none.
func (b *Blobstore) Look(uuid string) (found domain.Lvol) {
	b.use(uuid, func(l *lvol) { found = b.h.withoutUser(l) })
	return found
}

// Clusters are the own clusters of an lvol at one moment.
type Clusters struct {
	Positions []uint64 // ascending
	own       map[uint64]cluster
}

// Read fills p from the beginning of the cluster at that position.
func (c Clusters) Read(position uint64, p []byte) { c.own[position].read(p, 0) }

// Sum writes an unambiguous form of the content at that position: its bytes without the
// zeros at its end, and their number.
func (c Clusters) Sum(position uint64, w io.Writer) { writeUint64(w, c.own[position].sum(w)) }

// Clusters returns the own clusters of an lvol, also of a hidden one; none if there is no
// such lvol. Later changes to the lvol do not change them.
func (b *Blobstore) Clusters(uuid string) (clusters Clusters) {
	b.use(uuid, func(l *lvol) { clusters = Clusters{positions(l.own), maps.Clone(l.own)} })
	return clusters
}

// Free is the number of free clusters.
func (b *Blobstore) Free() uint64 {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	return b.h.freeClusters()
}

// Clones are the UUIDs of the listed clones of the lvol, in the order of their creation.
func (b *Blobstore) Clones(uuid string) (clones []string) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	l, ok := b.h.lvols[uuid]
	if !ok || l.children == 0 {
		return nil
	}
	for _, other := range slices.SortedFunc(maps.Values(b.h.lvols), byCreation) {
		if other.parent == l {
			clones = append(clones, other.uuid)
		}
	}
	return clones
}

// Children is the number of clones of an lvol, including hidden ones.
func (b *Blobstore) Children(uuid string) (n int) {
	b.use(uuid, func(l *lvol) { n = l.children })
	return n
}

// Destroy deletes an lvol as bdev_lvol_delete does: one with a clone merges into it
// (DeleteMerging). If it or its clone is busy, it returns ErrBusy and hides the lvol all
// the same, until Restart.
func (b *Blobstore) Destroy(uuid string) error {
	return b.h.with("destroy "+b.h.nameOrUUID(uuid), b.h.find, uuid, func(l *lvol) error {
		err := b.h.deleteMerging(l)
		if err != nil && l.children <= 1 {
			b.h.hide(l)
		}
		return err
	})
}

// Rename gives any lvol another name, a snapshot too, as the Longhorn branch
// does.
func (b *Blobstore) Rename(uuid, name string) error {
	what := fmt.Sprintf("rename %s to %s", b.h.nameOrUUID(uuid), name)
	return b.h.with(what, b.h.find, uuid, func(l *lvol) error {
		err := b.h.checkName(name)
		if err == nil {
			b.h.rename(l, name)
		}
		return err
	})
}

// Decouple copies the clusters that the parent owns and the lvol lacks into the lvol,
// whose parent is its former grandparent afterwards. ErrInvalid without a parent,
// ErrNoSpace if they do not fit; then nothing was changed.
func (b *Blobstore) Decouple(uuid string) error {
	return b.fill(uuid, "decouple", missingFrom(b.h), func(l *lvol) {
		if l.parent != nil {
			l.external = l.parent.external
			l.setParent(l.parent.parent)
			return
		}
		l.external = nil
	})
}

// Copy is Decouple for an lvol that keeps its parent.
func (b *Blobstore) Copy(uuid string) error {
	return b.fill(uuid, "copy into", missingFrom(b.h), func(*lvol) {})
}

// missingFrom finds the clusters of the parent that an lvol lacks.
func missingFrom(h *Host) func(l *lvol) (map[uint64]cluster, error) {
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

// Inflate makes every cluster the lvol's own and removes its parent. ErrNoSpace if they
// do not fit; then nothing was changed.
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
		l.setParent(nil)
	})
}

// fill adds the missing clusters to the lvol. Clusters that can be read are added also if
// others cannot.
func (b *Blobstore) fill(uuid, what string, lacking func(*lvol) (map[uint64]cluster, error), after func(*lvol)) error {
	h := b.h
	return h.with(what+" "+h.nameOrUUID(uuid), h.find, uuid, func(l *lvol) error {
		content, unread := lacking(l)
		if content == nil {
			return unread
		}
		maps.Copy(content, l.own)
		needed := uint64(len(content) - len(l.own))
		if needed > h.freeClusters() {
			return ports.ErrNoSpace
		}
		h.used += needed
		l.own = content
		if unread != nil {
			return fmt.Errorf("%w: %w", ports.ErrInvalid, unread)
		}
		after(l)
		return nil
	})
}

// SetExternal replaces the external snapshot that the lvol reads through to; nil: none.
// The lvol must not have a parent. It is read without the store's lock, since it may be an
// lvol of the same store: the caller sees to it that nothing changes meanwhile.
func (b *Blobstore) SetExternal(uuid string, outside io.ReaderAt) {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if l, ok := b.h.lvols[uuid]; ok {
		l.external = nil
		if outside != nil {
			l.external = &external{ReaderAt: unlocked{outside, &b.h.mu}}
		}
	}
}

// unlocked is read without a lock that the reader holds.
type unlocked struct {
	io.ReaderAt
	lock sync.Locker
}

func (u unlocked) ReadAt(p []byte, offset int64) (int, error) {
	u.lock.Unlock()
	defer u.lock.Lock()
	return u.ReaderAt.ReadAt(p, offset)
}

// Blob is an lvol to restore.
type Blob struct {
	UUID     string
	Name     string
	Parent   string // its UUID, "" for none
	Size     uint64 // bytes
	ReadOnly bool
	Own      map[uint64][]byte // whole clusters, by position; the slices are not copied
}

// Restore adds lvols to an empty store, in that order. A parent may come after its
// clones.
func (b *Blobstore) Restore(blobs []Blob) error {
	h := b.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, blob := range blobs {
		l := &lvol{uuid: blob.UUID, name: blob.Name, size: blob.Size, readOnly: blob.ReadOnly, created: h.created}
		h.created++
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
			return h.wrap("restore "+blob.Name, err)
		}
		h.lvols[blob.UUID].setParent(parent)
	}
	return nil
}
