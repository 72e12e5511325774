package memory

import "maps"

// Spoil is an error in the data of a copy that reports success.
type Spoil int

const (
	// SpoilNothing is a correct copy.
	SpoilNothing Spoil = iota
	// SpoilBytes changes the bytes of one cluster.
	SpoilBytes
	// SpoilPlace writes the right bytes of one cluster to another position. If the
	// snapshot owns all clusters, the copy is correct.
	SpoilPlace
	// SpoilLess leaves one cluster out.
	SpoilLess
	// SpoilMore writes one more cluster, of zeros. If the snapshot owns all clusters, the
	// copy is correct.
	SpoilMore
)

// apply returns the clusters to write instead of these own clusters, and their order. The
// last one is spoiled.
func (s Spoil) apply(own map[uint64]cluster, clusters uint64) (order []uint64, written map[uint64]cluster) {
	order = positions(own)
	if s == SpoilNothing || len(order) == 0 && s != SpoilMore {
		return order, own
	}
	free, written := clusters, maps.Clone(own)
	for i := range clusters {
		if _, taken := own[i]; !taken {
			free = i
			break
		}
	}
	last := uint64(0)
	if len(order) > 0 {
		last = order[len(order)-1]
	}
	switch {
	case s == SpoilBytes:
		var first [1]byte
		own[last].read(first[:], 0)
		written[last] = own[last].with([]byte{first[0] ^ 0x55}, 0)
	case s == SpoilLess:
		delete(written, last)
	case free == clusters:
	case s == SpoilPlace:
		written[free] = own[last]
		delete(written, last)
	case s == SpoilMore:
		if written == nil {
			written = make(map[uint64]cluster)
		}
		written[free] = nil
	}
	return positions(written), written
}
