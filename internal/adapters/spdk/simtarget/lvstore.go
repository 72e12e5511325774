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

func createLvstore(t *Target, r *request, p *createLvstoreParams) (any, error) {
	if !clears(p.ClearMethod) {
		return nil, refusal(-int(syscall.EINVAL), "Invalid clear_method parameter")
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
		return nil, syscall.EINVAL
	case base == nil:
		return nil, syscall.ENODEV
	case base.claim != unclaimed:
		return nil, syscall.EPERM
	case clusterSize < base.blockSize:
		return nil, syscall.EINVAL
	case t.storeByName(p.Name) != nil:
		return nil, syscall.EEXIST
	case clusterSize%pageSize != 0:
		return nil, as(codeInvalidParams, syscall.EINVAL)
	}
	divided, fits := newGeometry(base.size(), clusterSize, ratio)
	if !fits || base.size() < clusterSize {
		return nil, as(codeInvalidParams, syscall.ENOMEM)
	}
	s := &lvstore{target: t, base: base, uuid: newUUID(), name: p.Name, geometry: divided}
	s.empty()
	_ = base.take(oneWriter) // nobody has it
	t.stores = append(t.stores, s)
	return r.later(func() (any, error) {
		if err := s.make(); err != nil {
			t.log.Error(err.Error())
			base.release()
			t.forget(s)
			return nil, as(codeInvalidParams, syscall.EIO)
		}
		return s.uuid, nil
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

type lvstoreParams struct {
	UUID *string `json:"uuid" optional:"true"`
	Name *string `json:"lvs_name" optional:"true"`
}

func deleteLvstore(t *Target, r *request, p *lvstoreParams) (any, error) {
	s, errno := t.storeOf(p.UUID, p.Name)
	if errno != 0 {
		return nil, errno
	}
	return r.later(func() (any, error) {
		s.unload()
		s.base.release()
		s.remove()
		return true, nil
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

func renameLvstore(t *Target, r *request, p *renameLvstoreParams) (any, error) {
	s := t.storeByName(p.Old)
	if s == nil {
		return nil, refusal(-int(syscall.ENOENT), "Lvol store %s not found", p.Old)
	}
	switch other := t.storeByName(p.New); {
	case p.New == "" || len(p.New) > t.config.Flavour.nameLimit():
		return nil, as(codeInvalidParams, syscall.EINVAL)
	case other == s:
		return true, nil
	case other != nil:
		return nil, as(codeInvalidParams, syscall.EEXIST)
	}
	return r.later(func() (any, error) {
		s.name = p.New
		for _, l := range s.inOrder {
			if l.bdev != nil {
				t.rename(l.bdev, s.name+"/"+l.name)
			}
		}
		s.keepStore()
		return true, nil
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

func getLvstores(t *Target, r *request, p *lvstoreParams) (any, error) {
	stores, err := r.listed(p.UUID, p.Name)
	if err != nil {
		return nil, err
	}
	infos := []lvstoreInfo{}
	for _, s := range stores {
		infos = append(infos, lvstoreInfo{
			UUID: s.uuid, Name: s.name, Base: s.base.name, DataClusters: s.dataClusters,
			FreeClusters: s.blobs.Free(), BlockSize: s.base.blockSize, ClusterSize: s.clusterSize,
		})
	}
	return infos, nil
}

// listed are the lvstores that a listing is about: all if it has no parameters, else one.
func (r *request) listed(uuid, name *string) ([]*lvstore, error) {
	if r.params == nil {
		return r.target.stores, nil
	}
	s, errno := r.target.storeOf(uuid, name)
	if errno != 0 {
		return nil, errno
	}
	return []*lvstore{s}, nil
}
