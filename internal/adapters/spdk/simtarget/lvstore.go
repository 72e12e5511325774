package simtarget

import (
	"slices"
	"strings"
	"syscall"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// lvstore is one on a bdev of a target.
type lvstore struct {
	target *Target
	base   *bdev
	uuid   string
	name   string
	geometry
	disk  *disk
	host  *memory.Host
	blobs *memory.Blobstore

	lvols   map[string]*lvol // by UUID, without what a delete has hidden
	inOrder []*lvol
	hidden  []*lvol         // what a delete has hidden
	pending map[string]bool // names that are being given
	looped  bool            // a cycle was closed: nothing is listed after a restart
}

func (t *Target) storeByName(name string) *lvstore {
	for _, s := range t.stores {
		if s.name == name {
			return s
		}
	}
	return nil
}

// storeOf is vbdev_get_lvol_store_by_uuid_xor_name.
func (t *Target) storeOf(uuid, name *string) (*lvstore, syscall.Errno) {
	if (uuid == nil) == (name == nil) {
		return nil, syscall.EINVAL
	}
	for _, s := range t.stores {
		if uuid != nil && s.uuid == strings.ToLower(*uuid) || name != nil && s.name == *name {
			return s, 0
		}
	}
	return nil, syscall.ENODEV
}

type createLvstoreParams struct {
	Bdev        string  `json:"bdev_name"`
	Name        string  `json:"lvs_name"`
	ClusterSize uint32  `json:"cluster_sz" optional:"true"`
	ClearMethod *string `json:"clear_method" optional:"true"`
	PagesRatio  uint32  `json:"num_md_pages_per_cluster_ratio" optional:"true"`
	PageSize    uint32  `json:"md_page_size" optional:"true" flavour:"upstream"`
}

// clears reports whether it is a way of clearing.
func clears(method *string) bool {
	return method == nil || slices.Contains([]string{"none", "unmap", "write_zeroes"}, strings.ToLower(*method))
}

func createLvstore(t *Target, r *request, p *createLvstoreParams) {
	if !clears(p.ClearMethod) {
		r.refuse(-int(syscall.EINVAL), "Invalid clear_method parameter")
		return
	}
	clusterSize, ratio := uint64(defaultCluster), uint64(defaultPagesRatio)
	if p.ClusterSize > 0 {
		clusterSize = uint64(p.ClusterSize)
	}
	if p.PagesRatio > 0 {
		ratio = uint64(p.PagesRatio)
	}
	base := t.find(p.Bdev)
	switch {
	case p.Name == "" || len(p.Name) > t.config.Flavour.nameLimit():
		r.errno(syscall.EINVAL)
		return
	case base == nil:
		r.errno(syscall.ENODEV)
		return
	case base.claim != unclaimed:
		r.errno(syscall.EPERM)
		return
	case clusterSize < base.blockSize:
		r.errno(syscall.EINVAL)
		return
	case t.storeByName(p.Name) != nil:
		r.errno(syscall.EEXIST)
		return
	case clusterSize%pageSize != 0:
		r.errnoAs(codeInvalidParams, syscall.EINVAL)
		return
	}
	divided, fits := newGeometry(base.size(), clusterSize, ratio)
	if !fits || base.size() < clusterSize {
		r.errnoAs(codeInvalidParams, syscall.ENOMEM)
		return
	}
	s := &lvstore{target: t, base: base, uuid: newUUID(), name: p.Name, geometry: divided}
	s.empty()
	_ = base.take(oneWriter) // nobody has it
	t.stores = append(t.stores, s)
	t.later(func() {
		if err := s.make(); err != nil {
			t.log.Error(err.Error())
			base.release()
			t.forget(s)
			r.errnoAs(codeInvalidParams, syscall.EIO)
			return
		}
		r.result(s.uuid)
	})
}

// empty gives the lvstore a host without lvols.
func (s *lvstore) empty() {
	s.host = memory.NewFabric().NewHost(memory.Config{
		Name: s.name, UUID: s.uuid, ClusterSize: s.clusterSize, BlockSize: s.base.blockSize,
		TotalClusters: s.dataClusters, NoClusters: s.dataClusters == 0, Flavour: s.target.config.Flavour.memory(),
	})
	s.blobs = memory.BlobstoreOf(s.host)
	s.lvols, s.pending, s.inOrder = make(map[string]*lvol), make(map[string]bool), nil
}

func (t *Target) forget(s *lvstore) {
	t.stores = slices.DeleteFunc(t.stores, func(other *lvstore) bool { return other == s })
}

type deleteLvstoreParams struct {
	UUID *string `json:"uuid" optional:"true"`
	Name *string `json:"lvs_name" optional:"true"`
}

func deleteLvstore(t *Target, r *request, p *deleteLvstoreParams) {
	s, errno := t.storeOf(p.UUID, p.Name)
	if errno != 0 {
		r.errno(errno)
		return
	}
	t.later(func() {
		s.unload()
		s.base.release()
		s.remove()
		r.result(true)
	})
}

// unload takes the lvstore's bdevs away, and itself. What it holds stays.
func (s *lvstore) unload() {
	for _, l := range slices.Backward(s.inOrder) {
		if l.bdev != nil {
			s.target.unregister(l.bdev)
		}
	}
	for _, l := range slices.Concat(s.inOrder, s.hidden) {
		l.letGo()
	}
	s.target.forget(s)
}

type renameLvstoreParams struct {
	Old string `json:"old_name"`
	New string `json:"new_name"`
}

func renameLvstore(t *Target, r *request, p *renameLvstoreParams) {
	s := t.storeByName(p.Old)
	if s == nil {
		r.refuse(-int(syscall.ENOENT), "Lvol store %s not found", p.Old)
		return
	}
	switch other := t.storeByName(p.New); {
	case p.New == "" || len(p.New) > t.config.Flavour.nameLimit():
		r.errnoAs(codeInvalidParams, syscall.EINVAL)
		return
	case other == s:
		r.result(true)
		return
	case other != nil:
		r.errnoAs(codeInvalidParams, syscall.EEXIST)
		return
	}
	t.later(func() {
		s.name = p.New
		for _, l := range s.inOrder {
			if l.bdev != nil {
				t.rename(l.bdev, s.name+"/"+l.name)
			}
		}
		s.keepStore()
		r.result(true)
	})
}

// rename gives a bdev another alias.
func (t *Target) rename(b *bdev, alias string) {
	for _, old := range b.aliases {
		delete(t.byName, old)
	}
	b.aliases = []string{alias}
	t.byName[alias] = b
}

type lvstoreInfo struct {
	UUID         string `json:"uuid"`
	Name         string `json:"name"`
	Base         string `json:"base_bdev"`
	DataClusters uint64 `json:"total_data_clusters"`
	FreeClusters uint64 `json:"free_clusters"`
	BlockSize    uint64 `json:"block_size"`
	ClusterSize  uint64 `json:"cluster_size"`
}

func getLvstores(t *Target, r *request) {
	var p struct {
		UUID *string `json:"uuid" optional:"true"`
		Name *string `json:"lvs_name" optional:"true"`
	}
	stores := t.stores
	if r.params != nil {
		if !r.decode(&p) {
			return
		}
		var ok bool
		if stores, ok = t.listed(r, p.UUID, p.Name); !ok {
			return
		}
	}
	infos := []lvstoreInfo{}
	for _, s := range stores {
		infos = append(infos, lvstoreInfo{
			UUID: s.uuid, Name: s.name, Base: s.base.name, DataClusters: s.dataClusters,
			FreeClusters: s.blobs.Free(), BlockSize: s.base.blockSize, ClusterSize: s.clusterSize,
		})
	}
	r.result(infos)
}

// listed is the one lvstore that a listing is about. Where it is not there the
// request is answered.
func (t *Target) listed(r *request, uuid, name *string) ([]*lvstore, bool) {
	s, errno := t.storeOf(uuid, name)
	if errno != 0 {
		r.errno(errno)
		return nil, false
	}
	return []*lvstore{s}, true
}
