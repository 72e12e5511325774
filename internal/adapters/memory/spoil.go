package memory

import "maps"

// Spoil is what is wrong with a copy that says that all went well.
type Spoil int

const (
	// SpoilNothing is what is right.
	SpoilNothing Spoil = iota
	// SpoilBytes gives one cluster other bytes.
	SpoilBytes
	// SpoilPlace writes one cluster, with the right bytes, to another place. Where the
	// snapshot owns them all, nothing is wrong.
	SpoilPlace
	// SpoilLess leaves one cluster out.
	SpoilLess
	// SpoilMore writes one too many, of zeros. Where the snapshot owns them all,
	// nothing is wrong.
	SpoilMore
)

// of is what is written instead of these own clusters, and in which order. The
// last one of them is spoiled.
func (s Spoil) of(own map[uint64]cluster, clusters uint64) (order []uint64, written map[uint64]cluster) {
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
