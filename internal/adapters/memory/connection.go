package memory

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/rootgraft/rebuild/internal/ports"
)

// connection is one host's connection to the ways of one ID. It never changes.
type connection struct {
	run  ports.Run
	ways []*way
}

// Connect implements ports.Live. Another connection to ways of that ID is replaced.
func (h *Host) Connect(ctx context.Context, run ports.Run, to ...ports.Address) error {
	return h.perform(ctx, Call{Method: "connect"}, fmt.Sprintf("connect to %v", to), func() error {
		ways, err := h.fabric.waysFor(h.peer(), to)
		if err != nil {
			return err
		}
		h.connections[ways[0].ID] = &connection{run: run, ways: ways}
		return nil
	})
}

// waysFor finds the open ways of one ID for a peer.
func (f *Fabric) waysFor(peer ports.Peer, addresses []ports.Address) ([]*way, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("no way: %w", ports.ErrInvalid)
	}
	ways := make([]*way, len(addresses))
	for i, at := range addresses {
		w := f.ways.Get(at)
		switch {
		case w == nil || !w.host.reachable():
			return nil, fmt.Errorf("no way at %s: %w", at, ports.ErrUnavailable)
		case !slices.Contains(w.peers, peer):
			return nil, fmt.Errorf("way %s is not offered to %s: %w", at, peer, ports.ErrUnavailable)
		case i > 0 && w.ID != ways[0].ID:
			return nil, fmt.Errorf("the ways %s and %s lead to different lvols: %w", ways[0].at, at, ports.ErrInvalid)
		}
		ways[i] = w
	}
	return ways, nil
}

// snapshot is that at the end of a way that works; nil if none does.
func (c *connection) snapshot() *shown {
	if c == nil {
		return nil
	}
	for _, w := range c.ways {
		if end := w.end(); end != nil {
			return end
		}
	}
	return nil
}

// through reads the snapshot that the ways of one ID lead to, with the mutex of the
// host that reads.
type through struct {
	host *Host
	id   string
}

// ReadAt implements io.ReaderAt.
func (t *through) ReadAt(p []byte, offset int64) (int, error) {
	end := t.host.connections[t.id].snapshot()
	if end == nil || end.view == nil {
		return 0, fmt.Errorf("no way %s leads to the external snapshot any more: %w", t.id, ports.ErrUnavailable)
	}
	from := uint64(offset)
	if from >= end.view.size {
		return 0, io.EOF
	}
	length := min(uint64(len(p)), end.view.size-from)
	if err := end.view.read(p[:length], from, end.clusterSize); err != nil {
		return 0, err
	}
	if length < uint64(len(p)) {
		return int(length), io.EOF
	}
	return int(length), nil
}

// GraftExternal implements ports.Live.
func (h *Host) GraftExternal(ctx context.Context, _ ports.Run, uuid string, ways ...ports.Address) error {
	what := fmt.Sprintf("graft %s onto %v", h.nameOrUUID(uuid), ways)
	return h.carryOut(ctx, h.onLvol("graft-external", uuid), what, func() (change, error) {
		l, err := h.findWritable(uuid)
		if err != nil {
			return change{}, err
		}
		if id, _ := h.connectionTo(ways); l.external != nil && l.external.through != nil && l.external.through.id == id {
			return change{apply: func() error { return nil }}, nil
		}
		if l.parent != nil || l.external != nil || len(l.own) > 0 {
			return change{}, fmt.Errorf("%s is not empty: %w", l.name, ports.ErrInvalid)
		}
		return change{locks: []*lvol{l}, apply: func() error { return h.graftExternal(l, ways) }}, nil
	})
}

func (h *Host) graftExternal(l *lvol, addresses []ports.Address) error {
	id, c := h.connectionTo(addresses)
	end := c.snapshot()
	switch {
	case end == nil:
		return fmt.Errorf("nothing is shown at %v: %w", addresses, ports.ErrUnavailable)
	case end.view == nil:
		return fmt.Errorf("a writable lvol is shown at %v: %w", addresses, ports.ErrInvalid)
	case end.view.size != l.size:
		return fmt.Errorf("%s has %d bytes, the snapshot %d: %w", l.name, l.size, end.view.size, ports.ErrInvalid)
	}
	reader := &through{host: h, id: id}
	l.external = &external{ReaderAt: reader, bdev: "way-" + id, through: reader}
	return nil
}

// connectionTo is the connection that has all these ways; nil if there is none.
func (h *Host) connectionTo(addresses []ports.Address) (id string, it *connection) {
	for id, c := range h.connections {
		has := func(at ports.Address) bool {
			return slices.ContainsFunc(c.ways, func(w *way) bool { return w.at == at })
		}
		if len(addresses) > 0 && !slices.ContainsFunc(addresses, func(at ports.Address) bool { return !has(at) }) {
			return id, c
		}
	}
	return "", nil
}
