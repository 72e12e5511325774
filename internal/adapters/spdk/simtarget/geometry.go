package simtarget

// Blobstore metadata, by blobstore.c: pages of 4 KiB at the front of the disk.
const (
	pageSize          = 4096
	maskHeader        = 5   // sizeof(struct spdk_bs_md_mask)
	clustersPerExtent = 512 // SPDK_EXTENTS_PER_EP
	defaultCluster    = 4 << 20
	defaultPagesRatio = 100 // metadata pages per 100 clusters
)

// geometry is how an lvstore divides its disk.
type geometry struct {
	clusterSize  uint64
	dataClusters uint64
	pages        uint64 // of metadata: one for each lvol, and one for every 512 clusters that it owns some of
}

// newGeometry divides a disk as spdk_bs_init does. It is false where the
// metadata alone is larger than the disk.
func newGeometry(bytes, clusterSize, pagesRatio uint64) (geometry, bool) {
	clusters := bytes / clusterSize
	pages := clusters * pagesRatio / 100
	mask := func(bits uint64) uint64 { return divideUp(maskHeader+divideUp(bits, 8), pageSize) }
	used := 1 + mask(pages) + max(mask(clusters), mask(pages)) + mask(pages) + pages
	taken := divideUp(used, clusterSize/pageSize)
	if taken > clusters {
		return geometry{}, false
	}
	return geometry{clusterSize: clusterSize, dataClusters: clusters - taken, pages: pages}, true
}

func divideUp(n, by uint64) uint64 { return (n + by - 1) / by }
