package app

import (
	"context"
	"errors"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// compare refuses replicas whose data is not proven equal: by maps and checksums, or else by
// reading it. Those that do not exist yet will show the data of the base.
func (c *mirrorChange) compare(ctx context.Context, base domain.Base) error {
	if len(c.replicas) < 2 {
		return nil
	}
	found := make([]foundReplica, len(c.sites))
	for i, r := range c.replicas {
		found[i] = foundReplica{c.sites[i], r, true}
	}
	if err := prove(ctx, found, base); err != nil {
		return err
	}
	for i, f := range found {
		c.replicas[i] = f.replica
	}
	audit := domain.AuditVolume(base, c.replicas...)
	if err := audit.CheckEqual(); err != nil {
		return refused(err)
	}
	views := domain.UnprovenViews(audit)
	read := make([]Views, len(c.sites))
	err := c.forAll(func(i int) (err error) { read[i], err = c.read(ctx, i, views); return err })
	switch {
	case errors.Is(err, ports.ErrUnsupported):
		return refusef("the replicas cannot be compared: %w: rebuild all from one, or give one alone", err)
	case err != nil:
		return err
	}
	for _, view := range views {
		checksums := make([]string, len(read))
		for i := range read {
			checksums[i] = read[i][view.Lvols[i].UUID]
		}
		if err := view.CheckEqual(checksums, c.replicas); err != nil {
			return refused(err)
		}
	}
	return nil
}

// read reads one replica's lvols of the views.
func (c *mirrorChange) read(ctx context.Context, i int, views []domain.View) (Views, error) {
	var all []domain.Lvol
	for _, view := range views {
		if l := view.Lvols[i]; l.UUID != "" {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	reader := lvolReader{c.sites[i], ports.Run{Replica: c.sites[i].Replica, ID: executor.NewID()}, newProgress(nil)}
	return c.engine.readLeased(ctx, reader, all, ports.Lease{Holder: "the creation of a volume"})
}
