package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
)

// List implements ports.Looker: lvols in the order of their creation, without maps and
// checksums (Prove).
func (h *Host) List(ctx context.Context) (domain.Listing, error) {
	var store domain.Listing
	err := h.perform(ctx, Call{Method: "list"}, "list", func() error {
		store = h.list()
		return nil
	})
	return unlessLost(store, err)
}

func (h *Host) list() domain.Listing {
	ordered := slices.SortedFunc(maps.Values(h.lvols), byCreation)
	store := domain.Listing{
		UUID:          h.config.UUID,
		Name:          h.config.Name,
		ClusterSize:   h.config.ClusterSize,
		BlockSize:     h.config.BlockSize,
		TotalClusters: h.config.TotalClusters,
		FreeClusters:  h.freeClusters(),
		NameLimit:     h.config.NameLimit,
		Proves:        h.config.Flavour == Fork,
		Records:       h.config.Flavour == Fork,
		Lvols:         make([]domain.Lvol, len(ordered)),

		RenamesSnapshots: h.config.Flavour == Fork,
	}
	for i, l := range ordered {
		store.Lvols[i] = h.listed(l)
	}
	return store
}

func byCreation(a, b *lvol) int { return cmp.Compare(a.created, b.created) }

// Look implements ports.Looker.
func (h *Host) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	var found domain.Lvol
	err := h.perform(ctx, h.onLvol("look", uuid), "look at "+h.nameOrUUID(uuid), func() error {
		l, err := h.findAny(uuid)
		if err != nil {
			return err
		}
		found = h.listed(l)
		return nil
	})
	return unlessLost(found, err)
}

// listed is the listing of an lvol with its user.
func (h *Host) listed(l *lvol) domain.Lvol {
	listed := h.withoutUser(l)
	if !listed.UsedBy.Any() && !listed.Degraded {
		listed.UsedBy = h.wayUser(l)
	}
	return listed
}

// withoutUser is the listing of an lvol without its user.
func (h *Host) withoutUser(l *lvol) domain.Lvol {
	if h.degraded(l) {
		return l.listedDegraded()
	}
	return domain.Lvol{
		UUID:       l.uuid,
		Name:       l.name,
		Parent:     l.parentUUID(),
		External:   l.externalName(),
		Size:       l.size,
		ReadOnly:   l.readOnly,
		Own:        domain.Clusters{Count: uint64(len(l.own))},
		Attributes: l.attributes,
		Record:     l.record,
		Image:      l.image,
		UsedBy:     l.usedBy,
	}
}
