package spdk

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/bits"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// clustersPerPage is how many clusters an extent page of an lvol's metadata maps
// (SPDK_EXTENTS_PER_EP, for pages of 4 KiB).
const clustersPerPage = 512

// survivesMerge refuses a merge after which a restart would damage the lvol.
//
// An lvol that a snapshot merges into takes over the snapshot's extent pages for which it
// has none (delete_snapshot_update_extent_pages). If the two differ in length, the last
// page of both has as many entries as the snapshot needs, not as the lvol does. When the
// target starts again, it finds the lvol damaged (blob_parse) and lists neither it nor
// its clones; or, if that was the lvol's last page, the lvol gets the snapshot's length.
// Both have been seen on either flavour.
//
// If the lvol owns one cluster of that page, it keeps its own page. The snapshot is not
// asked: it keeps a page all of whose clusters it has given back (blob_free_cluster_msg).
func (l *lvols) survivesMerge(ctx context.Context, snapshot, into *rpc.Bdev) error {
	clusterSize := l.ClusterSize
	shorter, longer := snapshot.Size()/clusterSize, into.Size()/clusterSize
	if shorter > longer {
		shorter, longer = longer, shorter
	}
	if shorter == longer || shorter%clustersPerPage == 0 {
		return nil
	}
	page := extentPage{first: shorter / clustersPerPage * clustersPerPage, clusterSize: clusterSize}
	kept, err := l.ownsIn(ctx, into, page)
	if err != nil || kept == some {
		return err
	}
	doubt := "it owns none"
	if kept == unknown {
		doubt = "it may own none (this target does not tell)"
	}
	return fmt.Errorf("%s has %d bytes, and %s, which it would merge into, %d: SPDK would damage the latter in its next restart unless that owns a cluster of its bytes %d to %d, and %s: %w",
		snapshot.LvolName(), snapshot.Size(), into.LvolName(), into.Size(), page.first*clusterSize, min((page.first+clustersPerPage)*clusterSize, into.Size()), doubt, ports.ErrInvalid)
}

// extentPage is one of an lvol's, by its first cluster.
type extentPage struct{ first, clusterSize uint64 }

// ownership says whether an lvol owns a cluster of an extent page.
type ownership int

const (
	none ownership = iota
	some
	unknown
)

// ownsIn reads the map, if the target has maps. The number of own clusters may be enough:
// none at all, or more than all other pages have.
func (l *lvols) ownsIn(ctx context.Context, b *rpc.Bdev, page extentPage) (ownership, error) {
	clusters := b.Size() / page.clusterSize
	here := min(clusters-page.first, clustersPerPage)
	switch own := b.Own(); {
	case own == 0:
		return none, nil
	case own > clusters-here:
		return some, nil
	case !l.Can.Proves:
		return unknown, nil
	}
	found, err := rpc.GetFragmap(b.UUID, page.first*page.clusterSize, here*page.clusterSize).Do(ctx, l.Client)
	if err != nil {
		return unknown, err
	}
	bitmap, err := base64.StdEncoding.DecodeString(found.Fragmap)
	if err == nil && found.NumClusters != here {
		err = fmt.Errorf("it is of %d clusters instead of %d", found.NumClusters, here)
	}
	if err != nil {
		return unknown, fmt.Errorf("the map of %s: %w: %w", b.LvolName(), err, ports.ErrUnavailable)
	}
	for i, eight := range bitmap {
		if spare := 8*(i+1) - int(here); spare > 0 {
			eight &= 0xff >> min(spare, 8)
		}
		if bits.OnesCount8(eight) > 0 {
			return some, nil
		}
	}
	return none, nil
}
