package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/rootgraft/rebuild"
)

// Create implements rebuild.Store.
func (h *host) Create(ctx context.Context, name string, size uint64) (string, error) {
	return h.Clone(ctx, "", name, size, "")
}

// Clone implements rebuild.Store.
func (h *host) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (uuid string, err error) {
	err = h.do(ctx, func() error {
		if snapshot != "" {
			s, err := h.findSnapshot(snapshot)
			if err != nil {
				return err
			}
			if size < s.Size {
				return fmt.Errorf("a clone of %d bytes is shorter than %s: %w", size, s.Name, rebuild.ErrInvalid)
			}
		}
		uuid, err = h.add(&lvol{
			Lvol: rebuild.Lvol{Name: name, Parent: snapshot, Size: size, Record: record},
			own:  make(map[uint64][]byte),
		})
		return err
	})
	return uuid, err
}

// add gives the lvol a UUID and adds it to the host.
func (h *host) add(l *lvol) (uuid string, err error) {
	if err := h.checkName(l.Name, nil); err != nil {
		return "", err
	}
	l.UUID = rand.Text()
	h.lvols[l.UUID] = l
	return l.UUID, nil
}

// checkName refuses a name that an lvol other than that one has.
func (h *host) checkName(name string, of *lvol) error {
	for _, other := range h.lvols {
		if other.Name == name && other != of {
			return fmt.Errorf("lvol %s on host %s: %w", name, h.name, rebuild.ErrExists)
		}
	}
	return nil
}

// Rename implements rebuild.Renamer.
func (h *host) Rename(ctx context.Context, uuid, name string) error {
	return h.do(ctx, func() error {
		l, err := h.find(uuid)
		if err == nil {
			err = h.checkName(name, l)
		}
		if err == nil {
			l.Name = name
		}
		return err
	})
}

// Graft implements rebuild.Store. The lvol itself and its descendants are refused as
// parents: that would be a cycle.
func (h *host) Graft(ctx context.Context, uuid, parent string) error {
	return h.do(ctx, func() error {
		l, err := h.find(uuid)
		if err != nil {
			return err
		}
		if parent != "" {
			if _, err := h.findSnapshot(parent); err != nil {
				return err
			}
		}
		for up := parent; up != ""; up = h.lvols[up].Parent {
			if up == uuid {
				return fmt.Errorf("graft lvol %s onto its descendant: %w", l.Name, rebuild.ErrInvalid)
			}
		}
		l.Parent = parent
		return nil
	})
}

// Seal implements rebuild.Store.
func (h *host) Seal(ctx context.Context, uuid, name string, seal rebuild.SealRecord) (snapshot string, err error) {
	frozen := rebuild.Lvol{Name: name, Attributes: seal.Attributes}
	if seal.Image != nil {
		frozen.Image = *seal.Image
	}
	err = h.do(ctx, func() error {
		snapshot, err = h.freeze(uuid, frozen)
		if err == nil {
			h.remove(uuid)
		}
		return err
	})
	return snapshot, err
}

// Snapshot implements rebuild.Snapshotter.
func (h *host) Snapshot(ctx context.Context, uuid, name string, attributes rebuild.Attributes) (snapshot string, err error) {
	err = h.do(ctx, func() error {
		snapshot, err = h.freeze(uuid, rebuild.Lvol{Name: name, Attributes: attributes})
		return err
	})
	return snapshot, err
}

// freeze moves the clusters of a writable lvol into a new snapshot, which becomes its
// parent.
func (h *host) freeze(uuid string, frozen rebuild.Lvol) (snapshot string, err error) {
	l, err := h.findWritable(uuid)
	if err != nil {
		return "", err
	}
	frozen.Parent, frozen.Size, frozen.ReadOnly = l.Parent, l.Size, true
	snapshot, err = h.add(&lvol{Lvol: frozen, own: l.own})
	if err == nil {
		l.Parent, l.own = snapshot, make(map[uint64][]byte)
	}
	return snapshot, err
}

// Delete implements rebuild.Store.
func (h *host) Delete(ctx context.Context, uuid string) error {
	return h.do(ctx, func() error {
		l, err := h.find(uuid)
		if err != nil {
			return err
		}
		for _, other := range h.lvols {
			if other.Parent == uuid {
				return fmt.Errorf("delete lvol %s, the parent of %s: %w", l.Name, other.Name, rebuild.ErrInvalid)
			}
		}
		h.remove(uuid)
		return nil
	})
}

// remove removes an lvol and the addresses that lead to it.
func (h *host) remove(uuid string) {
	h.void(func(r *reception) bool { return r.into.UUID == uuid })
	delete(h.lvols, uuid)
}

// Record implements rebuild.Recorder.
func (h *host) Record(ctx context.Context, head, record string) error {
	return h.do(ctx, func() error {
		l, err := h.find(head)
		if err == nil {
			l.Lvol.Record = record
		}
		return err
	})
}
