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

func (t *Target) access(name string, do func(*bdev) error) error {
	err := fmt.Errorf("%s: it does not answer", t)
	t.world(func() {
		b := t.find(name)
		if b == nil {
			err = fmt.Errorf("%s: there is no bdev %s", t, name)
			return
		}
		if err = do(b); err != nil {
			err = fmt.Errorf("%s: bdev %s: %w", t, name, err)
		}
	})
	return err
}

// Namespace is what a target serves under an NSID.
type Namespace struct {
	target *Target
	bdev   *bdev

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

func (n *Namespace) do(access func() error) error {
	err := fmt.Errorf("%s: it does not answer", n.target)
	n.target.world(func() { err = access() })
	return err
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
				target: t, bdev: ns.bdev, NSID: nsid, NGUID: ns.nguid, UUID: ns.uuid,
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
