package simtarget

import (
	"strings"
	"syscall"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// lvol is one logical volume of an lvstore. Its size, clusters and parent are the
// blobstore's.
type lvol struct {
	store   *lvstore
	uuid    string
	name    string
	written string // the name that is on the disk
	created string
	thin    bool
	awake   bool // the blobstore knows it as a snapshot: it has met a clone of it
	xattrs  map[string]string

	checksum *uint64
	external string // the UUID of the bdev that it reads through to; "": none
	outside  *bdev  // that one, while it is there
	loop     *lvol  // the parent that it was given, though that descends from it
	degraded bool   // what it reads through to is missing: it has no bdev
	brittle  bool   // and its delete crashes the target
	resizing bool   // just now
	overfull bool   // a longer snapshot, with clusters beyond its end, has merged into it
	misfit   *misfit

	// A snapshot that is given a parent is no snapshot to be cloned meanwhile: its
	// metadata is not read-only (bs_set_parent_snapshot_open_cpl).
	regrafted bool

	data string // the file that its clusters are in

	bdev *bdev // nil: degraded
}

const lvolProduct = "Logical Volume"

// state is what the blobstore says of it.
func (l *lvol) state() domain.Lvol {
	return l.store.blobs.Look(l.uuid)
}

func (l *lvol) readOnly() bool { return l.state().ReadOnly }

// parent is nil for none, and for one that a delete has hidden.
func (l *lvol) parent() *lvol {
	if l.loop != nil {
		return l.loop
	}
	return l.store.lvols[l.state().Parent]
}

// isClone reports whether it has a parent, which may be hidden.
func (l *lvol) isClone() bool { return l.loop != nil || l.state().Parent != "" }

func (l *lvol) clones() []*lvol {
	var clones []*lvol
	for _, uuid := range l.store.blobs.Clones(l.uuid) {
		if clone := l.store.lvols[uuid]; clone != nil && clone.loop == nil {
			clones = append(clones, clone)
		}
	}
	for _, other := range l.store.inOrder {
		if other.loop == l {
			clones = append(clones, other)
		}
	}
	return clones
}

// unlisted is how many children of this lvol no listing shows: they are being deleted, or a delete that was busy has hidden them, of which one is hidden.
func (l *lvol) unlisted() (n int, hidden *lvol) {
	n = l.store.blobs.Children(l.uuid)
	for _, uuid := range l.store.blobs.Clones(l.uuid) {
		if l.store.lvols[uuid] != nil {
			n--
		}
	}
	for _, other := range l.store.hidden {
		if other.state().Parent == l.uuid {
			hidden = other
		}
	}
	return n, hidden
}

// circles reports whether the way up from the lvol never ends.
func (l *lvol) circles() bool {
	if !l.store.looped {
		return false
	}
	seen := make(map[*lvol]bool)
	for up := l; up != nil; up = up.parent() {
		if seen[up] {
			return true
		}
		seen[up] = true
	}
	return false
}

// findLvol is the lvol that a bdev of that name shows.
func (t *Target) findLvol(name string) (*lvol, error) {
	if b := t.find(name); b != nil && b.lvol != nil {
		return b.lvol, nil
	}
	return nil, syscall.ENODEV
}

// checkName is lvs_verify_lvol_name.
func (s *lvstore) checkName(name string) syscall.Errno {
	if name == "" || len(name) > s.target.config.Flavour.nameLimit() {
		return syscall.EINVAL
	}
	if s.pending[name] || s.named(name) != nil {
		return syscall.EEXIST
	}
	return 0
}

func (s *lvstore) named(name string) *lvol {
	for _, l := range s.inOrder {
		if l.name == name {
			return l
		}
	}
	return nil
}

// add lists an lvol that the blobstore has, and shows it as a bdev.
func (s *lvstore) add(l *lvol) {
	l.store = s
	if l.data == "" {
		l.data = newUUID()
	}
	s.lvols[l.uuid] = l
	s.inOrder = append(s.inOrder, l)
	if !l.degraded {
		l.show()
	}
}

// newLvol is one that is made now.
func newLvol(uuid, name string, thin bool) *lvol {
	return &lvol{uuid: uuid, name: name, thin: thin, created: time.Now().UTC().Format(time.RFC3339)}
}

// show registers the lvol's bdev.
func (l *lvol) show() {
	t, state := l.store.target, l.state()
	b := &bdev{
		name: l.uuid, uuid: l.uuid, product: lvolProduct, created: l.created,
		aliases:   []string{l.store.name + "/" + l.name},
		blockSize: l.store.base.blockSize, blocks: state.Size / l.store.base.blockSize,
		device: l, lvol: l, specific: l.specific,
	}
	l.bdev = b
	l.setIO(state.ReadOnly)
	if errno := t.register(b); errno != 0 {
		l.bdev = nil // two lvols of one name: the second has no bdev
	}
}

func (l *lvol) setIO(readOnly bool) {
	l.bdev.io = ioTypes{
		Read: true, Write: !readOnly, Unmap: !readOnly, Reset: true, WriteZeroes: !readOnly,
		SeekHole: true, SeekData: true, Flush: l.store.target.config.Flavour == Fork,
	}
}

// ReadAt reads the view.
func (l *lvol) ReadAt(p []byte, offset int64) (int, error) {
	if err := l.store.host.ReadAt(l.uuid, p, uint64(offset)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt writes, copy on write, and keeps what it has written.
func (l *lvol) WriteAt(p []byte, offset int64) (int, error) {
	at := uint64(offset)
	if err := l.store.host.WriteAt(l.uuid, p, at); err != nil {
		return 0, err
	}
	l.keepWritten(at, uint64(len(p)))
	return len(p), nil
}

// Unmap gives own clusters back, or fills them with zeros over a parent and where the lvol is not thin.
// On an AIO disk that cannot unmap, such zeros are not written.
func (l *lvol) Unmap(offset, length uint64) error {
	if keeps := !l.thin || !l.loose(); keeps && !l.store.base.io.Unmap {
		return nil
	}
	if !l.thin {
		_, err := l.WriteAt(make([]byte, length), int64(offset))
		return err
	}
	if err := l.store.host.Trim(l.uuid, offset, length); err != nil {
		return err
	}
	l.keepAfter(nil)
	return nil
}

// lvolInfo is what a bdev says of its lvol.
type lvolInfo struct {
	StoreUUID string    `json:"lvol_store_uuid"`
	Base      string    `json:"base_bdev"`
	Thin      bool      `json:"thin_provision"`
	Allocated uint64    `json:"num_allocated_clusters"`
	Snapshot  bool      `json:"snapshot"`
	Clone     bool      `json:"clone"`
	Parent    string    `json:"base_snapshot,omitempty"`
	Clones    *[]string `json:"clones,omitempty"`
	Esnap     bool      `json:"esnap_clone"`
	External  string    `json:"external_snapshot_name,omitempty"`
}

func (l *lvol) specific() map[string]any {
	info := lvolInfo{
		StoreUUID: l.store.uuid, Base: l.store.base.name, Thin: l.thin, Allocated: l.state().Own.Count,
		Snapshot: l.awake, Clone: l.isClone(), Esnap: l.external != "", External: l.external,
	}
	if parent := l.parent(); parent != nil {
		info.Parent = parent.name
	}
	clones := l.clones()
	if unlisted, _ := l.unlisted(); len(clones)+unlisted > 0 {
		names := make([]string, len(clones))
		for i, clone := range clones {
			names[i] = clone.name
		}
		info.Clones = &names
	}
	return map[string]any{"lvol": info}
}

// listedLvol is an entry of bdev_lvol_get_lvols.
type listedLvol struct {
	Alias     string  `json:"alias"`
	UUID      string  `json:"uuid"`
	Name      string  `json:"name"`
	Created   *string `json:"creation_time,omitempty"` // the fork's
	Thin      bool    `json:"is_thin_provisioned"`
	Snapshot  bool    `json:"is_snapshot"`
	Clone     bool    `json:"is_clone"`
	Esnap     bool    `json:"is_esnap_clone"`
	Degraded  bool    `json:"is_degraded"`
	Allocated *uint64 `json:"num_allocated_clusters,omitempty"` // upstream's
	Store     struct {
		Name string `json:"name"`
		UUID string `json:"uuid"`
	} `json:"lvs"`
}

type getLvolsParams struct {
	UUID *string `json:"lvs_uuid" optional:"true"`
	Name *string `json:"lvs_name" optional:"true"`
}

func getLvols(t *Target, r *request, p *getLvolsParams) (any, error) {
	stores, err := r.listed(p.UUID, p.Name)
	if err != nil {
		return nil, err
	}
	listed := []listedLvol{}
	for _, s := range stores {
		for _, l := range s.inOrder {
			listed = append(listed, l.listed())
		}
	}
	return listed, nil
}

func (l *lvol) listed() listedLvol {
	entry := listedLvol{
		Alias: l.store.name + "/" + l.name, UUID: l.uuid, Name: l.name, Thin: l.thin, Snapshot: l.awake,
		Clone: l.isClone(), Esnap: l.external != "", Degraded: l.degraded,
	}
	entry.Store.Name, entry.Store.UUID = l.store.name, l.store.uuid
	if l.store.target.config.Flavour == Fork {
		entry.Created = &l.created
	} else {
		count := l.state().Own.Count
		entry.Allocated = &count
	}
	return entry
}

type createLvolParams struct {
	UUID        *string `json:"uuid" optional:"true"`
	Store       *string `json:"lvs_name" optional:"true"`
	Name        string  `json:"lvol_name"`
	MiB         uint64  `json:"size_in_mib"`
	Thin        bool    `json:"thin_provision" optional:"true"`
	ClearMethod *string `json:"clear_method" optional:"true"`
}

func createLvol(t *Target, r *request, p *createLvolParams) (any, error) {
	s, errno := t.storeOf(p.UUID, p.Store)
	if errno != 0 {
		return nil, errno
	}
	if !clears(p.ClearMethod) {
		return nil, refusal(-int(syscall.EINVAL), "Invalid clean_method option")
	}
	if errno := s.checkName(p.Name); errno != 0 {
		return nil, errno
	}
	s.pending[p.Name] = true
	return r.later(func() (any, error) {
		delete(s.pending, p.Name)
		clusters := divideUp(p.MiB<<20, s.clusterSize)
		owned := clusters
		if p.Thin {
			owned = 0
		}
		if errno := s.room(p.Name, owned); errno != 0 {
			return nil, as(codeInvalidParams, errno)
		}
		uuid, err := s.blobs.Create(p.Name, clusters*s.clusterSize)
		if err == nil && !p.Thin {
			err = s.blobs.Inflate(uuid)
		}
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		l := newLvol(uuid, p.Name, p.Thin)
		s.add(l)
		l.keepAfter(nil)
		return uuid, nil
	})
}

// room refuses one more lvol that owns that many clusters: without a metadata
// page for it, or without the clusters; and where the alias is taken by an lvol of
// another name, which a rename upstream leaves behind (renameLvol).
func (s *lvstore) room(name string, clusters uint64) syscall.Errno {
	used := uint64(1) // the lvstore's own blob
	for _, l := range s.inOrder {
		used += l.pages()
	}
	if used+1 > s.pages {
		return syscall.ENOMEM
	}
	if clusters > s.blobs.Free() || used+1+divideUp(clusters, clustersPerExtent) > s.pages {
		return syscall.ENOSPC
	}
	if s.target.find(s.name+"/"+name) != nil {
		return syscall.EEXIST
	}
	return 0
}

// pages are its own of metadata. One more for every 512 clusters of which it owns
// some, which are taken as dense here.
func (l *lvol) pages() uint64 { return 1 + divideUp(l.state().Own.Count, clustersPerExtent) }

type renameLvolParams struct {
	Old string `json:"old_name"`
	New string `json:"new_name"`
}

func renameLvol(t *Target, r *request, p *renameLvolParams) (any, error) {
	l, err := t.findLvol(p.Old)
	if err != nil {
		return nil, err
	}
	// The alias first, and without looking back.
	if alias := l.store.name + "/" + p.New; t.find(alias) != nil {
		return nil, as(codeInvalidParams, syscall.EEXIST)
	} else {
		t.rename(l.bdev, alias)
	}
	name := p.New[:min(len(p.New), t.config.Flavour.nameLimit())]
	switch other := l.store.named(name); {
	case other == l:
		return true, nil
	case other != nil:
		return nil, as(codeInvalidParams, syscall.EEXIST)
	case t.config.Flavour == Upstream && l.readOnly():
		return nil, as(codeInvalidParams, syscall.EPERM)
	}
	return r.later(func() (any, error) {
		if err := l.store.blobs.Rename(l.uuid, name); err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		l.name = name
		if !l.readOnly() {
			l.keep() // that of a snapshot is not written before it is opened (spdk_blob_sync_md)
		}
		return true, nil
	})
}

type resizeLvolParams struct {
	Name string `json:"name"`
	MiB  uint64 `json:"size_in_mib"`
}

func resizeLvol(t *Target, r *request, p *resizeLvolParams) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	state := l.state()
	clusters := divideUp(p.MiB<<20, l.store.clusterSize)
	switch {
	case state.ReadOnly:
		return nil, as(codeInvalidParams, syscall.EPERM)
	case clusters*l.store.clusterSize == state.Size:
		return l.notifySize(state.Size)
	}
	release, errno := l.hold()
	if errno != 0 {
		return nil, as(codeInvalidParams, errno)
	}
	l.resizing = true
	return r.later(func() (any, error) {
		release()
		l.resizing = false
		more := int64(clusters) - int64(state.Size/l.store.clusterSize)
		if !l.thin && more > int64(l.store.blobs.Free()) {
			return nil, as(codeInvalidParams, syscall.ENOSPC)
		}
		before := l.owned()
		err := l.store.blobs.Resize(l.uuid, clusters*l.store.clusterSize)
		if err == nil && !l.thin {
			err = l.store.blobs.Inflate(l.uuid)
		}
		if err != nil {
			return nil, as(codeInvalidParams, errnoOf(err))
		}
		l.keepAfter(before)
		if more != 0 {
			l.overfull = false
			if l.misfit != nil && l.misfit.Page == (max(clusters, state.Size/l.store.clusterSize)-1)/clustersPerExtent {
				l.misfit = nil
			}
		}
		return l.notifySize(clusters * l.store.clusterSize)
	})
}

// notifySize gives the bdev the lvol's size, which it does not take where it would
// become shorter than somebody has it open (spdk_bdev_notify_blockcnt_change). It stays
// longer than the lvol then.
func (l *lvol) notifySize(size uint64) (any, error) {
	blocks := size / l.bdev.blockSize
	if blocks < l.bdev.blocks && l.bdev.claim != unclaimed {
		return nil, as(codeInvalidParams, syscall.EBUSY)
	}
	if blocks != l.bdev.blocks {
		l.bdev.blocks = blocks
		l.bdev.resizeRAID()
	}
	return true, nil
}

// hold has the lvol, and others, take part in one operation.
func (l *lvol) hold(others ...*lvol) (release func(), errno syscall.Errno) {
	uuids := []string{l.uuid}
	for _, other := range others {
		uuids = append(uuids, other.uuid)
	}
	release, err := l.store.blobs.Hold(uuids...)
	if err != nil {
		return nil, errnoOf(err)
	}
	return release, 0
}

// findAny is the lvol of a bdev, or one by UUID or name that no bdev has: a degraded
// one, or one whose alias is another.
func (t *Target) findAny(name string) *lvol {
	if b := t.find(name); b != nil && b.lvol != nil {
		return b.lvol
	}
	for _, s := range t.stores {
		for _, l := range s.inOrder {
			if l.uuid == strings.ToLower(name) || s.name+"/"+l.name == name {
				return l
			}
		}
	}
	return nil
}
