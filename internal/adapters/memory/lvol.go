package memory

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// lvol is one logical volume, guarded by its host's mutex. The map of a snapshot's own
// clusters is replaced, never changed.
type lvol struct {
	uuid     string
	name     string
	created  uint64 // position in the order of creation
	parent   *lvol
	children int // number of clones, including hidden ones
	size     uint64
	readOnly bool
	own      map[uint64]cluster // by position, in clusters; nil: none
	external *external          // read instead of a parent; nil: none

	attributes domain.Attributes
	record     string
	image      domain.ImageRecord

	usedBy domain.User // other than runs of this engine

	checksum string // of the own clusters; "" until it was asked for
	hidden   bool   // deleted while it was busy; listed again after a restart

	busy     *operation // that it takes part in
	asParent bool       // it gets a clone in that operation

	reception *reception // that writes into it
	opening   *opening   // through which its bytes are read and written
	rate      uint64     // limit of copies into it in bytes per second; 0: none
}

// add creates an lvol and lists it.
func (h *Host) add(name string, size uint64, parent *lvol) *lvol {
	l := &lvol{uuid: h.drawUUID(), name: name, size: size, created: h.created}
	h.created++
	l.setParent(parent)
	h.lvols[l.uuid], h.names[name] = l, l
	return l
}

// drop removes an lvol without clones and frees its clusters.
func (h *Host) drop(l *lvol) {
	h.endReception(l.reception, errWithdrawn)
	h.hideLvol(l)
	h.endOpening(l.opening, fmt.Errorf("%w: %s was deleted", ports.ErrUnavailable, l.name))
	delete(h.lvols, l.uuid)
	delete(h.hidden, l)
	if h.names[l.name] == l { // the name of a hidden one may have been taken by another
		delete(h.names, l.name)
	}
	l.setParent(nil)
	h.used -= uint64(len(l.own))
	l.own = nil
}

// setParent sets the parent of the lvol; nil: none.
func (l *lvol) setParent(parent *lvol) {
	if l.parent != nil {
		l.parent.children--
	}
	l.parent = parent
	if parent != nil {
		parent.children++
	}
}

// takeOver moves the own clusters and the parent of a writable lvol.
func (l *lvol) takeOver(from *lvol) {
	l.own, from.own = from.own, nil
	l.external, from.external = from.external, nil
	l.setParent(from.parent)
	from.setParent(nil)
}

// clusters is the lvol's length in clusters.
func (l *lvol) clusters(h *Host) uint64 { return l.size / h.config.ClusterSize }

func (l *lvol) parentUUID() string {
	if l.parent == nil {
		return ""
	}
	return l.parent.uuid
}
