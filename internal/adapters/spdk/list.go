package spdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// looks is how often a listing is asked for until its calls agree.
const looks = 5

// manyLvols are about as many as SPDK can list: an lvol takes about 1000 bytes in
// bdev_get_bdevs, and an answer of more than 32 MiB ends in the middle of a word
// (SPDK_JSONRPC_SEND_BUF_SIZE_MAX), with the connection left open.
const manyLvols = 25_000

// listing is what three calls in one write say of the lvstore.
type listing struct {
	stores []spdktypes.LvstoreInfo
	lvols  []spdktypes.LvolInfo
	bdevs  []rpc.Bdev

	records map[string]*xattrCall // by UUID of what was a head the last time
	claims  *claims               // where the last listing had users; else nil
}

// List implements ports.Looker.
//
// Neither of a target's two listings has everything: bdev_lvol_get_lvols lacks
// sizes and parents, bdev_get_bdevs lacks lvols that are degraded (whose
// external snapshot is gone). Of a degraded lvol the target tells no more than
// domain.Lvol says of one.
//
// The target answers the three calls one after the other in one turn of its
// poller, so as a rule they agree. Where they do not, somebody is at work on
// the store, and List looks again.
func (h *Host) List(ctx context.Context) (domain.Listing, error) {
	wait := rpc.BackOff{Pause: 5 * time.Millisecond, Longest: 100 * time.Millisecond}
	for attempt := 1; ; attempt++ {
		found, err := h.listing(ctx)
		if err != nil {
			return domain.Listing{}, h.store.Failed(err, "list lvols")
		}
		store, err := h.combine(found)
		if err == nil {
			h.forgetOthers(store.Lvols)
			if err = h.addAttributes(ctx, &store, found.records); err == nil {
				err = h.fillUsers(ctx, found.bdevs, store.Lvols, found.claims)
			}
		}
		switch {
		case err == nil:
			h.noteHeads(store.Lvols)
			return store, nil
		case !errors.Is(err, errDisagree):
			return domain.Listing{}, h.store.Failed(err, "list lvols")
		}
		if attempt == looks || !wait.Next(ctx) {
			return domain.Listing{}, h.store.Failed(err, "list lvols")
		}
	}
}

func (h *Host) listing(ctx context.Context) (listing, error) {
	found := listing{records: h.askRecords()}
	stores, lvols, bdevs := rpc.GetLvstore(h.store.UUID), rpc.GetLvols(h.store.UUID), rpc.GetBdevs()
	calls := []rpc.Request{stores, lvols, bdevs}
	all := calls
	for _, uuid := range slices.Sorted(maps.Keys(found.records)) {
		all = append(all, found.records[uuid])
	}
	if found.claims = h.askClaimsAgain(); found.claims != nil {
		all = append(all, found.claims.calls()...)
	}
	h.rpc.Do(ctx, all...)
	if err := rpc.FirstErr(calls); rpc.OutcomeUnknown(err) && len(lvols.Result) > manyLvols {
		return listing{}, fmt.Errorf("the store has %d lvols, and SPDK cuts off answers of more than 32 MiB: %w", len(lvols.Result), err)
	} else if err != nil {
		return listing{}, err
	}
	found.stores, found.lvols, found.bdevs = stores.Result, lvols.Result, bdevs.Result
	if found.claims != nil {
		if err := found.claims.err(); err != nil {
			return listing{}, err
		}
	}
	if len(found.stores) != 1 {
		return listing{}, fmt.Errorf("lvstore %s is listed %d times: %w", h.store.UUID, len(found.stores), ports.ErrUnavailable)
	}
	return found, nil
}

// combine puts the listings together. It fails where they contradict each other.
func (h *Host) combine(found listing) (domain.Listing, error) {
	info := found.stores[0]
	store := domain.Listing{
		UUID:          info.UUID,
		Name:          info.Name,
		ClusterSize:   info.ClusterSize,
		BlockSize:     info.BlockSize,
		TotalClusters: info.TotalDataClusters,
		FreeClusters:  info.FreeClusters,
		NameLimit:     h.store.Can.NameLimit,
		Proves:        h.store.Can.Proves,
		Records:       h.store.Can.Records,
		Lvols:         make([]domain.Lvol, 0, len(found.lvols)),
	}
	bdevs := make(map[string]*rpc.Bdev, len(found.lvols))
	for i := range found.bdevs {
		if b := &found.bdevs[i]; h.store.Has(b) {
			bdevs[b.UUID] = b
		}
	}
	byName := make(map[string]string, len(found.lvols))
	for _, l := range found.lvols {
		byName[l.Name] = l.UUID
	}
	for _, l := range found.lvols {
		b, ok := bdevs[l.UUID]
		if !ok {
			if !l.IsDegraded {
				return domain.Listing{}, disagree("lvol %s has no bdev", l.Name)
			}
			store.Lvols = append(store.Lvols, degraded(&l))
			continue
		}
		delete(bdevs, l.UUID)
		parent := ""
		if name := b.Driver.Lvol.BaseSnapshot; name != "" {
			if parent = byName[name]; parent == "" {
				return domain.Listing{}, disagree("the parent %s of lvol %s is not listed", name, l.Name)
			}
		}
		if err := b.RequireOwn(); err != nil {
			return domain.Listing{}, err
		}
		listed := lvolOf(b, parent)
		// Not by the alias: upstream SPDK changes that also where it refuses to
		// rename (a snapshot), until the next restart.
		listed.Name = l.Name
		store.Lvols = append(store.Lvols, listed)
	}
	for _, b := range bdevs {
		return domain.Listing{}, disagree("bdev %s is no listed lvol", b.LvolName())
	}
	return store, nil
}

// addAttributes fills in what is recorded, and leaves out lvols that have gone since they
// were listed. That the target does not find an lvol does not say that: after a restart
// it knows none before their disk is loaded.
func (h *Host) addAttributes(ctx context.Context, store *domain.Listing, records map[string]*xattrCall) error {
	missing, err := h.readAttributes(ctx, store.Lvols, records)
	if err != nil || len(missing) == 0 {
		return err
	}
	listed, err := rpc.GetLvols(h.store.UUID).Do(ctx, h.rpc)
	if err != nil {
		return rpc.Unavailable(err)
	}
	for _, l := range listed {
		if missing[l.UUID] {
			return disagree("lvol %s is listed, and yet not found", l.Name)
		}
	}
	for _, l := range store.Lvols {
		if missing[l.Parent] && !missing[l.UUID] {
			return disagree("what lvol %s hangs on has gone", l.Name)
		}
	}
	store.Lvols = slices.DeleteFunc(store.Lvols, func(l domain.Lvol) bool { return missing[l.UUID] })
	return nil
}

// errDisagree: somebody is at work on the store, so another look may tell.
var errDisagree = fmt.Errorf("two listings of one store disagree: %w", ports.ErrUnavailable)

func disagree(what string, args ...any) error {
	return fmt.Errorf("%w: %s", errDisagree, fmt.Sprintf(what, args...))
}

func lvolOf(b *rpc.Bdev, parent string) domain.Lvol {
	return domain.Lvol{
		UUID:     b.UUID,
		Name:     b.LvolName(),
		Parent:   parent,
		External: b.Driver.Lvol.External(),
		Size:     b.Size(),
		ReadOnly: b.ReadOnly(),
		Own:      domain.Clusters{Count: b.Own()},
	}
}

// degraded is an lvol that is listed without a bdev: the target cannot open it, since
// what it reads through to is missing.
func degraded(l *spdktypes.LvolInfo) domain.Lvol {
	return domain.Lvol{UUID: l.UUID, Name: l.Name, ReadOnly: l.IsSnapshot, Degraded: true}
}
