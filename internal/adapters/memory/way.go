package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var _ ports.Live = (*Host)(nil)

// way is an open way to an lvol of a host. The other hosts of the fabric use it without
// the host's mutex.
type way struct {
	ports.Way

	at    ports.Address
	host  *Host
	run   ports.Run
	peers []ports.Peer

	shown  atomic.Pointer[shown] // nil: nothing
	closed atomic.Bool
}

// shown is an lvol at the end of a way.
type shown struct {
	lvol *lvol // guarded by its host's mutex
	uuid string
	view *lvol // of a snapshot: a copy of it and its ancestors, which never changes

	clusterSize uint64 // bytes
}

// end returns what the way leads to; nil if it leads nowhere.
func (w *way) end() *shown {
	if w.closed.Load() || !w.host.reachable() {
		return nil
	}
	return w.shown.Load()
}

// Offer implements ports.Live.
func (h *Host) Offer(ctx context.Context, run ports.Run, offered ports.Way, to ...ports.Peer) (ports.Address, error) {
	var w *way
	what := fmt.Sprintf("offer way %s, path %d", offered.ID, offered.Path)
	err := h.carryOut(ctx, Call{Method: "offer", Name: offered.Head}, what, func() (change, error) {
		if !wayID(offered.ID) || offered.Path < 0 {
			return change{}, fmt.Errorf("it needs 8 hex digits and a path from 0 on: %w", ports.ErrInvalid)
		}
		return change{apply: func() error {
			for _, other := range h.ways {
				sameHead := offered.Head != "" && other.Head == offered.Head
				if sameHead || other.run == run && other.ID == offered.ID && other.Path == offered.Path {
					h.closeWay(other)
				}
			}
			h.opened++
			at := ports.Address(fmt.Sprintf("memory:%d:way:%d", h.number, h.opened))
			w = &way{Way: offered, at: at, host: h, run: run, peers: slices.Clone(to)}
			h.ways[at] = w
			h.fabric.ways.Set(w.at, w)
			return nil
		}}, nil
	})
	if err != nil {
		return "", err
	}
	return w.at, nil
}

func wayID(id string) bool { return len(id) == 8 && strings.Trim(id, "0123456789abcdef") == "" }

// Show implements ports.Live. ErrInvalid for a snapshot that is read through a way.
func (h *Host) Show(ctx context.Context, _ ports.Run, at ports.Address, uuid string) error {
	what := fmt.Sprintf("show %s at %s", h.nameOrUUID(uuid), at)
	return h.perform(ctx, h.onLvol("show", uuid), what, func() error {
		w, open := h.ways[at]
		if !open {
			return fmt.Errorf("way %s: %w", at, ports.ErrNotFound)
		}
		l, err := h.find(uuid)
		if err != nil {
			return err
		}
		if there := w.shown.Load(); there != nil {
			if there.lvol == l {
				return nil
			}
			return fmt.Errorf("%s is shown there: %w", there.lvol.name, ports.ErrExists)
		}
		view, err := l.viewForOthers()
		if err != nil {
			return err
		}
		w.shown.Store(&shown{lvol: l, uuid: uuid, view: view, clusterSize: h.config.ClusterSize})
		return nil
	})
}

// viewForOthers copies a snapshot and its ancestors, so that they can be read without the
// host's mutex; nil for a writable lvol.
func (l *lvol) viewForOthers() (*lvol, error) {
	if l == nil || !l.readOnly {
		return nil, nil
	}
	if l.external != nil && l.external.through != nil {
		return nil, fmt.Errorf("%s is read from another host itself: %w", l.name, ports.ErrInvalid)
	}
	parent, err := l.parent.viewForOthers()
	return &lvol{size: l.size, own: l.own, external: l.external, parent: parent}, err
}

// Hide implements ports.Live.
func (h *Host) Hide(ctx context.Context, _ ports.Run, at ports.Address) error {
	return h.hideWays(ctx, "hide", fmt.Sprintf("hide %s", at), func(w *way) bool { return w.at == at })
}

// HideHead implements ports.Live.
func (h *Host) HideHead(ctx context.Context, replica string) error {
	return h.hideWays(ctx, "hide-head", "hide the head of "+replica, func(w *way) bool { return replica != "" && w.Head == replica })
}

func (h *Host) hideWays(ctx context.Context, method, what string, which func(*way) bool) error {
	return h.perform(ctx, Call{Method: method}, what, func() error {
		h.closeWays(which)
		return nil
	})
}

func (h *Host) closeWays(which func(*way) bool) {
	for _, w := range h.ways {
		if which(w) {
			h.closeWay(w)
		}
	}
}

func (h *Host) closeWay(w *way) {
	w.closed.Store(true)
	w.shown.Store(nil)
	delete(h.ways, w.at)
	h.fabric.ways.Take(w.at)
}

// endWays ends the ways and connections of runs, and takes lvols off the external
// snapshots at their ends. The ways of heads stay. ErrBusy if such a head reads through a
// connection.
func (h *Host) endWays(which func(ports.Run) bool) error {
	ends := func(l *lvol) bool {
		if l.external == nil || l.external.through == nil || l.external.missing {
			return false
		}
		c, connected := h.connections[l.external.through.id]
		return connected && which(c.run)
	}
	for _, w := range h.ways {
		there := w.shown.Load()
		if there == nil || w.Head == "" {
			continue
		}
		for l := there.lvol; l != nil; l = l.parent {
			if ends(l) {
				return fmt.Errorf("%s is shown at a way, and reads through to another host: %w", there.lvol.name, ports.ErrBusy)
			}
		}
	}
	for _, l := range h.lvols {
		if ends(l) {
			l.external = nil
		}
	}
	h.closeWays(func(w *way) bool { return w.Head == "" && which(w.run) })
	for id, c := range h.connections {
		if which(c.run) {
			delete(h.connections, id)
		}
	}
	return nil
}

// wayUser is the user of a head that is shown at a way.
func (h *Host) wayUser(l *lvol) domain.User {
	for _, w := range h.ways {
		if there := w.shown.Load(); there != nil && there.lvol == l && w.Head != "" {
			user := domain.User{Kind: domain.UserExport, Name: "the head of " + w.Head}
			if len(w.peers) == 1 {
				user.Host = string(w.peers[0])
			}
			return user
		}
	}
	return domain.User{}
}

// hideLvol takes a deleted lvol from the ways that show it.
func (h *Host) hideLvol(l *lvol) {
	for _, w := range h.ways {
		if there := w.shown.Load(); there != nil && there.lvol == l {
			w.shown.Store(nil)
		}
	}
}

// openedWays lists the ways and connections that end with their run.
func (h *Host) openedWays() (found []ports.Opened) {
	for _, at := range slices.Sorted(maps.Keys(h.ways)) {
		if w := h.ways[at]; w.Head == "" {
			found = append(found, ports.Opened{Run: w.run, What: "way " + w.ID})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h.connections)) {
		found = append(found, ports.Opened{Run: h.connections[id].run, What: "connection to way " + id})
	}
	return found
}
