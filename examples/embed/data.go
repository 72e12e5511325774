package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild"
)

// view is a cluster as a reader of the lvol sees it: its own, or that of the nearest
// ancestor that has it. nil is zeros, also beyond the end of a shorter ancestor.
func (h *host) view(l *lvol, at uint64) []byte {
	for l != nil && at < l.Size/clusterSize {
		if content, own := l.own[at]; own {
			return content
		}
		l = h.lvols[l.Parent]
	}
	return nil
}

// put makes the content an own cluster of the lvol.
func (h *host) put(l *lvol, at uint64, content []byte) error {
	if _, own := l.own[at]; !own && h.free() == 0 {
		return fmt.Errorf("write to lvol %s: %w", l.Name, rebuild.ErrNoSpace)
	}
	l.own[at] = content
	return nil
}

// write writes within one cluster of a writable lvol, as the user of a volume does. The
// rest of the cluster keeps its data.
func (h *host) write(uuid string, p []byte, offset uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.findWritable(uuid)
	if err != nil {
		return err
	}
	content := make([]byte, clusterSize)
	copy(content, h.view(l, offset/clusterSize))
	copy(content[offset%clusterSize:], p)
	return h.put(l, offset/clusterSize, content)
}

// read fills p from one cluster as a reader of the lvol sees it.
func (h *host) read(uuid string, p []byte, offset uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return err
	}
	content := make([]byte, clusterSize)
	copy(content, h.view(l, offset/clusterSize))
	copy(p, content[offset%clusterSize:])
	return nil
}

// Prove implements rebuild.Prover.
func (h *host) Prove(ctx context.Context, snapshots []string) (map[string]rebuild.Clusters, error) {
	proven := make(map[string]rebuild.Clusters)
	return proven, h.do(ctx, func() error {
		for _, uuid := range snapshots {
			l, err := h.findSnapshot(uuid)
			if err != nil {
				continue // gone or writable: left out
			}
			own, sum := positions(l), sha256.New()
			for _, at := range own {
				sum.Write(l.own[at])
			}
			proven[uuid] = rebuild.Clusters{Count: uint64(len(own)), Map: fmt.Sprint(own), Checksum: fmt.Sprintf("%x", sum.Sum(nil))}
		}
		return nil
	})
}

func positions(l *lvol) []uint64 { return slices.Sorted(maps.Keys(l.own)) }
