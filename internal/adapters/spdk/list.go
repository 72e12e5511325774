package spdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// looks is how often a listing is asked for until its calls agree.
const looks = 5

// manyLvols are about as many as SPDK can list: an lvol takes about 1000 bytes in
// bdev_get_bdevs, and an answer of more than 32 MiB ends in the middle of a word
// (SPDK_JSONRPC_SEND_BUF_SIZE_MAX), with the connection left open.
const manyLvols = 25_000

// getLvolsRequest narrows bdev_lvol_get_lvols; go-spdk-helper has no type for it.
type getLvolsRequest struct {
	LvsUUID string `json:"lvs_uuid"`
}

// lvolInfo is an entry of bdev_lvol_get_lvols.
type lvolInfo struct {
	spdktypes.LvolInfo
}

// listing is what three calls in one write say of the lvstore.
type listing struct {
	stores []spdktypes.LvstoreInfo
	lvols  []lvolInfo
	bdevs  []bdev

	records map[string]*recordCall // by UUID of what was a head the last time
	claims  *claims                // where the last listing had users; else nil
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
	wait := backOff{pause: 5 * time.Millisecond, longest: 100 * time.Millisecond}
	for attempt := 1; ; attempt++ {
		found, err := h.listing(ctx)
		if err != nil {
			return domain.Listing{}, h.failed(err, "list lvols")
		}
		store, err := h.store(found)
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
			return domain.Listing{}, h.failed(err, "list lvols")
		}
		if attempt == looks || !wait.next(ctx) {
			return domain.Listing{}, h.failed(err, "list lvols")
		}
	}
}

func (h *Host) listing(ctx context.Context) (listing, error) {
	found := listing{records: h.askRecords()}
	calls := []*call{
		newCall("bdev_lvol_get_lvstores", spdktypes.BdevLvolGetLvstoreRequest{UUID: h.storeUUID}, &found.stores),
		newCall("bdev_lvol_get_lvols", getLvolsRequest{LvsUUID: h.storeUUID}, &found.lvols),
		newCall("bdev_get_bdevs", nil, &found.bdevs),
	}
	all := calls
	for _, uuid := range slices.Sorted(maps.Keys(found.records)) {
		all = append(all, found.records[uuid].call)
	}
	if found.claims = h.askClaimsAgain(); found.claims != nil {
		all = append(all, found.claims.calls...)
	}
	h.rpc.do(ctx, all...)
	for _, one := range calls {
		if unsaid(one.err) && len(found.lvols) > manyLvols {
			return listing{}, fmt.Errorf("the store has %d lvols, and SPDK cuts off answers of more than 32 MiB: %w", len(found.lvols), one.err)
		}
		if one.err != nil {
			return listing{}, one.err
		}
	}
	if found.claims != nil {
		if err := found.claims.err(); err != nil {
			return listing{}, err
		}
	}
	if len(found.stores) != 1 {
		return listing{}, fmt.Errorf("lvstore %s is listed %d times: %w", h.storeUUID, len(found.stores), ports.ErrUnavailable)
	}
	return found, nil
}

// store puts the listings together. It fails where they contradict each other.
func (h *Host) store(found listing) (domain.Listing, error) {
	info := found.stores[0]
	store := domain.Listing{
		UUID:          info.UUID,
		Name:          info.Name,
		ClusterSize:   info.ClusterSize,
		BlockSize:     info.BlockSize,
		TotalClusters: info.TotalDataClusters,
		FreeClusters:  info.FreeClusters,
		NameLimit:     h.can.nameLimit,
		Proves:        h.can.proves,
		Records:       h.can.records,
		Lvols:         make([]domain.Lvol, 0, len(found.lvols)),
	}
	bdevs := make(map[string]*bdev, len(found.lvols))
	for i := range found.bdevs {
		if b := &found.bdevs[i]; b.Driver.Lvol != nil && b.Driver.Lvol.LvolStoreUUID == h.storeUUID {
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
			store.Lvols = append(store.Lvols, l.degraded())
			continue
		}
		delete(bdevs, l.UUID)
		parent := ""
		if name := b.Driver.Lvol.BaseSnapshot; name != "" {
			if parent = byName[name]; parent == "" {
				return domain.Listing{}, disagree("the parent %s of lvol %s is not listed", name, l.Name)
			}
		}
		if err := b.requireOwn(); err != nil {
			return domain.Listing{}, err
		}
		listed := b.lvol(parent)
		// Not by the alias: upstream SPDK changes that also where it refuses to
		// rename (a snapshot), until the next restart.
		listed.Name = l.Name
		store.Lvols = append(store.Lvols, listed)
	}
	for _, b := range bdevs {
		return domain.Listing{}, disagree("bdev %s is no listed lvol", b.name())
	}
	return store, nil
}

// addAttributes fills in what is recorded, and leaves out lvols that have gone since they
// were listed. That the target does not find an lvol does not say that: after a restart
// it knows none before their disk is loaded.
func (h *Host) addAttributes(ctx context.Context, store *domain.Listing, records map[string]*recordCall) error {
	missing, err := h.readAttributes(ctx, store.Lvols, records)
	if err != nil || len(missing) == 0 {
		return err
	}
	var listed []lvolInfo
	if err := h.rpc.call(ctx, "bdev_lvol_get_lvols", getLvolsRequest{LvsUUID: h.storeUUID}, &listed); err != nil {
		return unavailable(err)
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
