package simtarget

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// make begins to keep a new lvstore.
func (s *lvstore) make() error {
	s.disk = newDisk(s.target.config.State, s.uuid)
	if err := s.disk.create(); err != nil {
		return fmt.Errorf("keep lvstore %s: %w", s.name, err)
	}
	s.keepStore()
	return setMark(s.base, s.uuid)
}

// keepStore writes down what the lvstore is like.
func (s *lvstore) keepStore() {
	s.write(record{Store: &storeRecord{Name: s.name, ClusterSize: s.clusterSize, Clusters: s.dataClusters, Pages: s.pages}})
}

// write ends the target where its state cannot be kept: it would answer what is
// not so.
func (s *lvstore) write(r record) {
	if s.disk == nil {
		return
	}
	if err := s.disk.append(r); err != nil {
		s.lose(err)
	}
}

func (s *lvstore) lose(err error) {
	s.target.die(fmt.Errorf("it cannot keep lvstore %s: %w", s.name, err))
}

// remove ends the lvstore for good.
func (s *lvstore) remove() {
	if err := setMark(s.base, ""); err != nil {
		s.target.log.Warn("the disk still says that it has an lvstore", zap.Error(err))
	}
	s.disk.close()
	if s.disk.kept() {
		_ = os.RemoveAll(s.disk.dir)
	}
}

// takeAway keeps the lvstore for whoever gets its disk next.
func (s *lvstore) takeAway() {
	switch {
	case s.disk == nil: // it was not ready
	case s.disk.kept():
		s.disk.close()
	default:
		s.target.fabric.forgetGone()
		s.target.fabric.takenAway[s.uuid] = s
	}
}

// forgetGone forgets the lvstores whose disks' files were removed: nobody gets them
// again, and a long test makes hundreds.
func (f *Fabric) forgetGone() {
	for uuid, s := range f.takenAway {
		file, onFile := s.base.device.(aioFile)
		if !onFile {
			continue
		}
		if _, err := os.Stat(file.Name()); errors.Is(err, os.ErrNotExist) {
			delete(f.takenAway, uuid)
		}
	}
}

// owned are the positions of the lvol's own clusters.
func (l *lvol) owned() []uint64 { return l.store.blobs.Clusters(l.uuid).Positions }

// keep writes the lvol down.
func (l *lvol) keep() { l.store.keep(l) }

// keepAfter is keep for an lvol that may own more clusters than before.
func (l *lvol) keepAfter(before []uint64) {
	own := l.store.blobs.Clusters(l.uuid)
	for _, i := range own.Positions {
		if _, there := slices.BinarySearch(before, i); !there && !l.keepCluster(own, i) {
			return
		}
	}
	l.keep()
}

// keepWritten keeps what was written there. The lvol may own more clusters now.
func (l *lvol) keepWritten(offset, length uint64) {
	s := l.store
	if !s.disk.kept() || length == 0 {
		return
	}
	own := s.blobs.Clusters(l.uuid)
	for i := offset / s.clusterSize; i <= (offset+length-1)/s.clusterSize; i++ {
		if !l.keepCluster(own, i) {
			return
		}
		s.write(record{Cluster: &clusterGiven{Lvol: l.uuid, At: i}})
	}
}

// keepCluster writes one cluster to the lvol's file.
func (l *lvol) keepCluster(own memory.Clusters, i uint64) bool {
	s := l.store
	if !s.disk.kept() {
		return true
	}
	content := make([]byte, s.clusterSize)
	own.Read(i, content)
	file, err := s.disk.file(l.data)
	if err == nil {
		_, err = file.WriteAt(content, int64(i*s.clusterSize))
	}
	if err != nil {
		s.lose(err)
	}
	return err == nil
}

// keep writes lvols down in one line.
func (s *lvstore) keep(lvols ...*lvol) {
	for _, l := range lvols {
		l.written = l.name
	}
	if !s.disk.kept() {
		return
	}
	var r record
	for _, l := range lvols {
		r.Lvols = append(r.Lvols, l.record())
	}
	s.write(r)
}

func (l *lvol) record() lvolRecord {
	state := l.state()
	r := lvolRecord{
		UUID: l.uuid, Name: l.name, Created: l.created, Parent: state.Parent, External: l.external,
		Size: state.Size, ReadOnly: state.ReadOnly, Thin: l.thin, Data: l.data, Own: l.owned(),
		Xattrs: maps.Clone(l.xattrs), Checksum: l.checksum, Misfit: l.misfit,
	}
	if l.loop != nil {
		r.Loop = l.loop.uuid
	}
	return r
}

// erase forgets a deleted lvol for good.
func (l *lvol) erase() {
	if l.store.disk.kept() {
		l.store.write(record{Gone: []string{l.uuid}})
		l.store.disk.erase(l.data)
	}
}

// examine loads the lvstore that a new bdev has, and makes whole what has missed
// the bdev.
func (t *Target) examine(b *bdev) {
	if uuid := markOf(b); uuid != "" {
		if err := t.load(b, uuid); err != nil {
			t.log.Error("an lvstore is not loaded", zap.String("bdev", b.name), zap.Error(err))
		}
	}
	t.appeared(b)
}

func (t *Target) load(b *bdev, uuid string) error {
	for _, s := range t.stores {
		if s.uuid == uuid {
			return fmt.Errorf("lvstore %s is loaded from %s already", s.name, s.base.name)
		}
	}
	s := t.fabric.takenAway[uuid]
	delete(t.fabric.takenAway, uuid)
	switch {
	case s != nil:
		s.target, s.base = t, b
		s.host.Restart() // what a delete has hidden is back
		s.inOrder = slices.Concat(s.inOrder, s.hidden)
	case t.config.State == "":
		return fmt.Errorf("it was another target's, and there is no State")
	default:
		s = &lvstore{target: t, base: b, uuid: uuid, disk: newDisk(t.config.State, uuid)}
		if _, err := os.Stat(s.disk.dir); err != nil {
			return err
		}
		if err := s.restore(); err != nil {
			s.disk.close()
			return err
		}
	}
	if b.take(oneWriter) != 0 {
		return fmt.Errorf("somebody has %s", b.name)
	}
	t.stores = append(t.stores, s)
	s.activate()
	return nil
}
