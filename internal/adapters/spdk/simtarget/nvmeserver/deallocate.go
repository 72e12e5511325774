package nvmeserver

import "github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"

// Deallocator is an Export that can give a range back. Others ignore a deallocation.
type Deallocator interface {
	// Deallocate gives whole blocks back, offset and length in bytes.
	Deallocate(offset, length uint64) error
}

// deallocate does what the ranges of a command say.
func deallocate(export Export, ranges []byte) error {
	able, can := export.(Deallocator)
	blocks := export.Size() / export.BlockSize()
	for ; len(ranges) > 0; ranges = ranges[wire.RangeSize:] {
		count, first := uint64(le.Uint32(ranges[4:])), le.Uint64(ranges[8:])
		if first > blocks || count > blocks-first {
			return &wire.StatusError{Command: "deallocate", Status: wire.StatusOutOfRange}
		}
		if !can || count == 0 {
			continue
		}
		if err := able.Deallocate(first*export.BlockSize(), count*export.BlockSize()); err != nil {
			return err
		}
	}
	return nil
}
