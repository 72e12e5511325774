package memory

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// lvol is one logical volume. Its host's mutex guards it. The map of a
// snapshot's own clusters is replaced, never changed.
type lvol struct {
	uuid     string
	name     string
	place    uint64 // in the order in which lvols were made
	parent   *lvol
	children int // also hidden ones
	size     uint64
	readOnly bool
	own      map[uint64]cluster // by position, in clusters; nil: none
	external *external          // read instead of a parent; nil: nothing is

	attributes domain.Attributes
	record     string
	image      domain.ImageRecord

	usedBy domain.User // besides runs of this engine

	checksum string // of the own clusters; "" until it was asked for
	hidden   bool   // deleted while it was busy: back after a restart

	busy     *operation // that it takes part in
	asParent bool       // in that operation something is hung on it

	reception *reception // that writes into it
	opening   *opening   // through which its bytes are read and written
	rate      uint64     // bytes a second that copies may write; 0: no limit
}

// add makes an lvol and lists it.
func (h *Host) add(name string, size uint64, parent *lvol) *lvol {
	l := &lvol{uuid: h.drawUUID(), name: name, size: size, place: h.made}
	h.made++
	l.hang(parent)
	h.lvols[l.uuid], h.names[name] = l, l
	return l
}

// drop forgets an lvol: nothing hangs on it, and its clusters are free again.
func (h *Host) drop(l *lvol) {
	h.void(l.reception, errWithdrawn)
	h.end(l.opening, fmt.Errorf("%w: %s was deleted", ports.ErrUnavailable, l.name))
	delete(h.lvols, l.uuid)
	delete(h.hidden, l)
	if h.names[l.name] == l { // a hidden one's may be another's by now
		delete(h.names, l.name)
	}
	l.hang(nil)
	h.used -= uint64(len(l.own))
	l.own = nil
}

// hang gives the lvol its parent, nil for none.
func (l *lvol) hang(parent *lvol) {
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
	l.hang(from.parent)
	from.hang(nil)
}

// clusters is how many it is long.
func (l *lvol) clusters(h *Host) uint64 { return l.size / h.config.ClusterSize }

func (l *lvol) parentUUID() string {
	if l.parent == nil {
		return ""
	}
	return l.parent.uuid
}
