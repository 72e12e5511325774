package simtarget

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// Clusters are the own ones of an lvol, by UUID, as no RPC tells them.
func (t *Target) Clusters(uuid string) (own memory.Clusters) {
	t.world(func() {
		for _, s := range t.stores {
			if s.lvols[uuid] != nil {
				own = s.blobs.Clusters(uuid)
			}
		}
	})
	return own
}

// ReadAt reads a bdev as a client of it would, by name or alias.
func (t *Target) ReadAt(name string, p []byte, offset uint64) error {
	return t.access(name, func(b *bdev) error { return b.read(p, offset) })
}

// WriteAt writes to a bdev as a client of it would, by name or alias. It does not
// look at claims.
func (t *Target) WriteAt(name string, p []byte, offset uint64) error {
	return t.access(name, func(b *bdev) error { return b.write(p, offset) })
}

// Deallocate gives whole clusters in a range of a bdev back as a client of it would, by name or
// alias.
func (t *Target) Deallocate(name string, offset, length uint64) error {
	return t.access(name, func(b *bdev) error { return b.unmap(offset, length) })
}

func (t *Target) access(name string, do func(*bdev) error) error {
	err := fmt.Errorf("%s: it does not answer", t)
	var b *bdev
	t.world(func() {
		if b = t.find(name); b == nil {
			err = fmt.Errorf("%s: there is no bdev %s", t, name)
		}
	})
	if b == nil {
		return err
	}
	if err := t.perform(b, func() error { return nil }, func() error { return do(b) }); err != nil {
		return fmt.Errorf("%s: bdev %s: %w", t, name, err)
	}
	return nil
}

// Namespace is what a target serves under an NSID.
type Namespace struct {
	target    *Target
	subsystem *subsystem
	bdev      *bdev

	NSID      uint32
	NGUID     string // 32 hex digits, in capitals
	UUID      string
	BlockSize uint64 // bytes
	Blocks    uint64
}

// ReadAt fills p; offset and length are whole blocks.
func (n *Namespace) ReadAt(p []byte, offset uint64) error {
	return n.do(func() error { return n.bdev.read(p, offset) })
}

// WriteAt writes p; offset and length are whole blocks.
func (n *Namespace) WriteAt(p []byte, offset uint64) error {
	return n.do(func() error { return n.bdev.write(p, offset) })
}

// Deallocate gives whole clusters in the range back, as an NVMe deallocate does.
func (n *Namespace) Deallocate(offset, length uint64) error {
	return n.do(func() error { return n.bdev.unmap(offset, length) })
}

// do waits as long as I/O cannot be done on a target, or no listener lets it in.
func (n *Namespace) do(access func() error) error {
	return n.target.perform(n.bdev, func() error {
		if n.subsystem.inaccessible() {
			return errAgain
		}
		return nil
	}, access)
}

// Namespaces are what a host of that NQN finds in a subsystem, by NSID; ok is false
// where there is none that it may connect to.
func (t *Target) Namespaces(nqn, hostNQN string) (found []*Namespace, ok bool) {
	t.world(func() {
		s := t.subsystems[nqn]
		if s == nil || !s.admits(hostNQN) {
			return
		}
		ok = true
		for _, nsid := range s.inOrderNSIDs() {
			ns := s.namespaces[nsid]
			found = append(found, &Namespace{
				target: t, subsystem: s, bdev: ns.bdev, NSID: nsid, NGUID: ns.nguid, UUID: ns.uuid,
				BlockSize: ns.bdev.blockSize, Blocks: ns.bdev.blocks,
			})
		}
	})
	return found, ok
}

// Namespace is one of them. It is found anew for every command: an NSID may be
// given to another bdev.
func (t *Target) Namespace(nqn, hostNQN string, nsid uint32) (*Namespace, bool) {
	all, _ := t.Namespaces(nqn, hostNQN)
	for _, n := range all {
		if n.NSID == nsid {
			return n, true
		}
	}
	return nil, false
}
