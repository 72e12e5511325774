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

// survivesMerge refuses what would be lost in a restart. An lvol that a snapshot merges
// into takes the snapshot's extent pages over where it has none of its own
// (delete_snapshot_update_extent_pages). If the two are not equally long, the last page
// that both reach into has as many entries as the snapshot needs, and not as the lvol
// does: when the target starts again it finds the lvol damaged (blob_parse), and lists
// neither it nor anything that hangs on it; or, if that was the lvol's last page, it
// takes the lvol for as long as the snapshot was. Both has been seen on either flavour.
// One cluster of its own in that page, and the lvol keeps its page. Whether the snapshot
// owns any there is not asked: by the source (blob_free_cluster_msg) it keeps a page of
// which it has given all clusters back.
func (h *Host) survivesMerge(ctx context.Context, snapshot, into *rpc.Bdev) error {
	clusterSize := h.store.ClusterSize
	shorter, longer := snapshot.Size()/clusterSize, into.Size()/clusterSize
	if shorter > longer {
		shorter, longer = longer, shorter
	}
	if shorter == longer || shorter%clustersPerPage == 0 {
		return nil
	}
	page := extentPage{first: shorter / clustersPerPage * clustersPerPage, clusterSize: clusterSize}
	kept, err := h.ownsIn(ctx, into, page)
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

// ownsIn asks for the map where there is one. Else how many clusters an lvol owns can
// tell: none at all, or more than there are in all other pages.
func (h *Host) ownsIn(ctx context.Context, b *rpc.Bdev, page extentPage) (ownership, error) {
	clusters := b.Size() / page.clusterSize
	here := min(clusters-page.first, clustersPerPage)
	switch own := b.Own(); {
	case own == 0:
		return none, nil
	case own > clusters-here:
		return some, nil
	case !h.store.Can.Proves:
		return unknown, nil
	}
	found, err := rpc.GetFragmap(b.UUID, page.first*page.clusterSize, here*page.clusterSize).Do(ctx, h.store.Client)
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
