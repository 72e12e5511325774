package simtarget

import (
	"encoding/base64"
	"syscall"
)

type getFragmapParams struct {
	Name   string `json:"name" optional:"true"`
	Offset uint64 `json:"offset" optional:"true"`
	Size   uint64 `json:"size" optional:"true"`
}

// getFragmap tells which clusters the lvol owns: a bit for each, the lowest first.
func getFragmap(t *Target, r *request, p *getFragmapParams) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	whole, size := l.bdev.size(), p.Size
	if size == 0 {
		size = whole
	}
	if size == 0 || p.Offset+p.Size > whole || p.Offset%l.store.clusterSize != 0 || size%l.store.clusterSize != 0 {
		return nil, as(codeInvalidParams, syscall.EINVAL)
	}
	return r.later(func() (any, error) {
		first, count := p.Offset/l.store.clusterSize, size/l.store.clusterSize
		bitmap, own := make([]byte, divideUp(count, 8)), 0
		for _, i := range l.owned() {
			if i >= first && i < first+count {
				bitmap[(i-first)/8] |= 1 << ((i - first) % 8)
				own++
			}
		}
		return map[string]any{
			"cluster_size": l.store.clusterSize, "num_clusters": count, "num_allocated_clusters": own,
			"fragmap": base64.StdEncoding.EncodeToString(bitmap),
		}, nil
	})
}
