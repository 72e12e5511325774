package simtarget

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// restore reads the lvstore from where it is kept.
func (s *lvstore) restore() error {
	store, records, err := s.disk.read()
	if err != nil {
		return err
	}
	if store.ClusterSize == 0 {
		return errors.New("its journal does not say what it is like")
	}
	s.name = store.Name
	s.geometry = geometry{clusterSize: store.ClusterSize, dataClusters: store.Clusters, pages: store.Pages}
	s.empty()
	blobs := make([]memory.Blob, len(records))
	for i, r := range records {
		blobs[i] = memory.Blob{UUID: r.UUID, Name: r.Name, Parent: r.Parent, Size: r.Size, ReadOnly: r.ReadOnly}
		if blobs[i].Own, err = s.clustersOf(r); err != nil {
			return fmt.Errorf("lvol %s: %w", r.Name, err)
		}
	}
	if err := s.blobs.Restore(blobs); err != nil {
		return err
	}
	for _, r := range records {
		l := &lvol{
			store: s, uuid: r.UUID, name: r.Name, written: r.Name, created: r.Created, thin: r.Thin, xattrs: r.Xattrs,
			checksum: r.Checksum, external: r.External, data: r.Data, misfit: r.Misfit,
		}
		s.lvols[l.uuid] = l
		s.inOrder = append(s.inOrder, l)
	}
	for _, r := range records {
		if r.Loop != "" {
			s.lvols[r.UUID].loop, s.looped = s.lvols[r.Loop], true
		}
	}
	return nil
}

// clustersOf reads an lvol's clusters. What its file lacks is zeros.
func (s *lvstore) clustersOf(r lvolRecord) (map[uint64][]byte, error) {
	if len(r.Own) == 0 {
		return nil, nil
	}
	file, err := s.disk.file(r.Data)
	if err != nil {
		return nil, err
	}
	own := make(map[uint64][]byte, len(r.Own))
	for _, i := range r.Own {
		content := make([]byte, s.clusterSize)
		if _, err := file.ReadAt(content, int64(i*s.clusterSize)); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		own[i] = content
	}
	return own, nil
}

// activate lists what a loaded lvstore has: aliases are as they should be, what
// was being copied is a plain lvol, and the blobstore knows a snapshot only by its
// clones. One with a cycle in it lists nothing.
func (s *lvstore) activate() {
	s.lvols, s.hidden, s.pending = make(map[string]*lvol), nil, make(map[string]bool)
	loaded := s.inOrder
	s.inOrder = nil
	if s.looped {
		s.target.log.Warn("no lvol is listed: some descend from each other", zap.String("lvstore", s.name))
		return
	}
	lost := make(map[string]bool) // by UUID
	for _, l := range loaded {
		if !l.fit() {
			s.target.log.Warn("an lvol is not listed: an extent page has too few entries", zap.String("lvstore", s.name), zap.String("lvol", l.name))
			lost[l.uuid] = true
		}
	}
	loaded = slices.DeleteFunc(loaded, func(l *lvol) bool {
		for up := l.uuid; up != ""; up = s.blobs.Look(up).Parent {
			if lost[up] {
				return true
			}
		}
		return false
	})
	for _, l := range s.withNames(loaded) {
		l.awake, l.brittle, l.overfull, l.bdev, l.outside = false, false, false, nil, nil
		s.lvols[l.uuid] = l
		s.inOrder = append(s.inOrder, l)
	}
	for _, l := range s.inOrder {
		if parent := s.lvols[l.state().Parent]; parent != nil {
			parent.awake = true
		}
		l.lookOutside()
	}
	for _, l := range slices.Clone(s.inOrder) {
		if l.degraded = l.lacks(); !l.degraded {
			l.show()
		}
	}
}

// withNames gives the lvols the names that are on the disk, which lacks a new one that was
// not written. Of two lvols of one name the second is not listed.
func (s *lvstore) withNames(loaded []*lvol) (listed []*lvol) {
	names := make(map[string]bool)
	for _, l := range loaded {
		twice := names[l.written]
		if l.name != l.written || twice {
			_ = s.blobs.Rename(l.uuid, l.uuid) // no other has that name; a hidden one is not found
		}
		l.name = l.written
		if twice || s.blobs.Look(l.uuid).UUID == "" {
			continue
		}
		names[l.name] = true
		listed = append(listed, l)
	}
	for _, l := range listed {
		if s.blobs.Look(l.uuid).Name == l.uuid {
			_ = s.blobs.Rename(l.uuid, l.name) // it is free now
		}
	}
	return listed
}
