package spdk

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Clone implements ports.Store. If one clone or one create is enough, it gives the
// name at once. Else it makes the lvol under an in-flight name and renames it when it
// is ready; both targets rename writable lvols.
func (h *Host) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	c := &cloning{lvols: h.lvols, snapshot: snapshot, size: size}
	if h.store.Can.Records {
		c.record = record
	}
	uuid, err := c.do(ctx, name)
	if err != nil {
		return "", h.store.Failed(err, "clone snapshot %q as %s of %d bytes", snapshot, name, size)
	}
	h.view.heads.Set(uuid, c.parent)
	return uuid, nil
}

// cloning is one clone that is made.
type cloning struct {
	lvols    *lvols
	snapshot string // UUID; "": none
	size     uint64 // bytes
	mib      uint64
	record   string // "": none

	parent string // the snapshot's name, once it was looked at
	grows  bool   // it has to be resized
}

func (c *cloning) do(ctx context.Context, name string) (uuid string, err error) {
	if err := c.lvols.checkName(name); err != nil {
		return "", err
	}
	if c.mib, err = c.lvols.mebibytes(c.size); err != nil {
		return "", err
	}
	if c.snapshot != "" {
		unlock, err := c.lvols.lock(ctx, c.snapshot)
		if err != nil {
			return "", err
		}
		defer unlock()
		c.lvols.sweep(ctx)
	}
	if c.record == "" {
		if err := c.look(ctx); err != nil {
			return "", err
		}
		if !c.grows {
			return c.make(ctx, name)
		}
	}
	return c.makeInFlight(ctx, name)
}

// make makes the lvol, as long as the snapshot.
func (c *cloning) make(ctx context.Context, name string) (uuid string, err error) {
	if c.snapshot == "" {
		return c.lvols.create(ctx, name, c.size)
	}
	return c.lvols.clone(ctx, c.snapshot, name)
}

// makeInFlight makes the lvol under another name, and renames it when it is ready.
func (c *cloning) makeInFlight(ctx context.Context, name string) (string, error) {
	made := helpers{lvols: c.lvols}
	defer made.tidy(ctx)
	replica := name
	if of, itself := domain.ReplicaInFlight(name); itself {
		replica = of
	}
	inFlight := domain.InFlightLvolName(replica, newID())
	// The look shares the clone's round trip: a clone that it refuses is deleted again.
	var forbidden error
	var looking sync.WaitGroup
	looking.Go(func() { forbidden = c.look(ctx) })
	uuid, err := c.make(ctx, inFlight)
	looking.Wait()
	// By its name: if the answer to the rename is lost, the lvol may have its final one.
	alias := c.lvols.Alias(inFlight)
	_, err = made.note(inFlight, alias, err)
	if err := cmp.Or(forbidden, err); err != nil {
		return "", err
	}
	if c.grows {
		if err := c.lvols.resize(ctx, uuid, c.mib); err != nil {
			return "", err
		}
	}
	if c.record != "" {
		if err := c.lvols.setRecord(ctx, uuid, c.record); err != nil {
			return "", err
		}
	}
	if err := rpc.RenameLvol(uuid, name).Do(ctx, c.lvols.Client); err != nil {
		return "", err
	}
	made.keep(alias)
	return uuid, nil
}

// look finds out whether the clone has to be resized. It refuses a clone that would be
// shorter than its snapshot.
func (c *cloning) look(ctx context.Context) error {
	if c.snapshot == "" {
		return nil
	}
	parent, err := c.lvols.Find(ctx, c.snapshot)
	if err != nil {
		return err
	}
	size := c.lvols.wholeClusters(c.size)
	switch {
	case !parent.ReadOnly():
		return fmt.Errorf("%s is writable: %w", parent.LvolName(), ports.ErrInvalid)
	case size < parent.Size():
		return fmt.Errorf("it would be shorter than %s, which has %d bytes: %w", parent.LvolName(), parent.Size(), ports.ErrInvalid)
	}
	c.parent, c.grows = parent.LvolName(), size != parent.Size()
	return nil
}
