package spdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	spdktypes "github.com/longhorn/go-spdk-helper/pkg/spdk/types"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// looks is how often a listing is repeated until its calls agree.
const looks = 5

// manyLvols is about how many SPDK can list: an lvol takes about 1000 bytes in
// bdev_get_bdevs, and an answer is cut off after 32 MiB (SPDK_JSONRPC_SEND_BUF_SIZE_MAX),
// while the connection stays open.
const manyLvols = 25_000

// view lists and looks at lvols, and remembers some answers.
type view struct {
	store   *rpc.Lvstore
	exports *nvmf.Exports

	records table.Map[string, record]   // of snapshots
	heads   table.Map[string, string]   // the names of their parents, as seen last
	used    table.Map[string, struct{}] // lvols that were looked at when somebody else had them
	claimed atomic.Bool                 // the last listing had lvols that somebody else has
}

// List implements ports.Looker.
//
// Neither of a target's two listings has everything: bdev_lvol_get_lvols lacks
// sizes and parents, bdev_get_bdevs lacks degraded lvols (whose external snapshot is
// gone).
//
// The target answers the three calls one after the other in one turn of its poller, so as
// a rule they agree. If they do not, somebody is changing the store, and List repeats
// them.
func (h *Host) List(ctx context.Context) (domain.Listing, error) {
	wait := rpc.BackOff{Pause: 5 * time.Millisecond, Longest: 100 * time.Millisecond}
	for attempt := 1; ; attempt++ {
		listed, err := h.view.list(ctx)
		if errors.Is(err, errDisagree) && attempt < looks && wait.Next(ctx) {
			continue
		}
		return listed, h.store.Failed(err, "list lvols")
	}
}

func (v *view) list(ctx context.Context) (domain.Listing, error) {
	asked := v.askListing()
	v.store.Client.Do(ctx, asked.calls()...)
	if err := asked.err(v.store.UUID); err != nil {
		return domain.Listing{}, err
	}
	listed, err := v.combine(asked)
	if err != nil {
		return domain.Listing{}, err
	}
	v.forgetOthers(listed.Lvols)
	if err := v.addRecorded(ctx, &listed, asked.records); err != nil {
		return domain.Listing{}, err
	}
	if err := v.addUsers(ctx, listed.Lvols, asked); err != nil {
		return domain.Listing{}, err
	}
	v.noteHeads(listed.Lvols)
	return listed, nil
}

// listing has the calls of one write that list the lvstore.
type listing struct {
	stores *rpc.CallOf[[]spdktypes.LvstoreInfo]
	lvols  *rpc.CallOf[[]spdktypes.LvolInfo]
	bdevs  *rpc.CallOf[[]rpc.Bdev]

	records map[string][]*xattrCall // by UUID of what was a head the last time
	claims  *claims                 // where the last listing had users; else nil
}

func (v *view) askListing() *listing {
	l := &listing{stores: rpc.GetLvstore(v.store.UUID), lvols: rpc.GetLvols(v.store.UUID), bdevs: rpc.GetBdevs()}
	if v.store.Can.Records {
		l.records = make(map[string][]*xattrCall)
		for uuid := range v.heads.All() {
			l.records[uuid] = askXattrs(uuid, xattrsOfHead)
		}
	}
	if v.claimed.Load() {
		l.claims = askClaims()
	}
	return l
}

func (l *listing) calls() []rpc.Request {
	all := []rpc.Request{l.stores, l.lvols, l.bdevs}
	for _, uuid := range slices.Sorted(maps.Keys(l.records)) {
		all = append(all, rpc.Requests(l.records[uuid])...)
	}
	if l.claims != nil {
		all = append(all, l.claims.calls()...)
	}
	return all
}

// err is why the listing is not whole. Errors of records are not among them.
func (l *listing) err(lvstore string) error {
	err := rpc.FirstErr([]rpc.Request{l.stores, l.lvols, l.bdevs})
	switch stores := l.stores.Result; {
	case rpc.OutcomeUnknown(err) && len(l.lvols.Result) > manyLvols:
		return fmt.Errorf("the store has %d lvols, and SPDK cuts off answers of more than 32 MiB: %w", len(l.lvols.Result), err)
	case err != nil:
		return err
	case l.claims != nil && l.claims.err() != nil:
		return l.claims.err()
	case len(stores) != 1:
		return fmt.Errorf("lvstore %s is listed %d times: %w", lvstore, len(stores), ports.ErrUnavailable)
	}
	return nil
}

// combine puts the listings together. errDisagree: they contradict each other.
func (v *view) combine(found *listing) (domain.Listing, error) {
	info := found.stores.Result[0]
	listed := domain.Listing{
		UUID:          info.UUID,
		Name:          info.Name,
		ClusterSize:   info.ClusterSize,
		BlockSize:     info.BlockSize,
		TotalClusters: info.TotalDataClusters,
		FreeClusters:  info.FreeClusters,
		NameLimit:     v.store.Can.NameLimit,
		Proves:        v.store.Can.Proves,
		Records:       v.store.Can.Records,
		Lvols:         make([]domain.Lvol, 0, len(found.lvols.Result)),

		RenamesSnapshots: v.store.Can.RenamesSnapshots,
	}
	bdevs := make(map[string]*rpc.Bdev, len(found.lvols.Result))
	for i := range found.bdevs.Result {
		if b := &found.bdevs.Result[i]; v.store.Has(b) {
			bdevs[b.UUID] = b
		}
	}
	byName := make(map[string]string, len(found.lvols.Result))
	for _, l := range found.lvols.Result {
		byName[l.Name] = l.UUID
	}
	for _, l := range found.lvols.Result {
		b, ok := bdevs[l.UUID]
		if !ok {
			if !l.IsDegraded {
				return domain.Listing{}, disagree("lvol %s has no bdev", l.Name)
			}
			listed.Lvols = append(listed.Lvols, degraded(&l))
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
		one := lvolOf(b, parent)
		// Not by the alias: upstream SPDK changes that also where it refuses to
		// rename (a snapshot), until the next restart.
		one.Name = l.Name
		listed.Lvols = append(listed.Lvols, one)
	}
	for _, b := range bdevs {
		return domain.Listing{}, disagree("bdev %s is no listed lvol", b.LvolName())
	}
	return listed, nil
}

// addRecorded adds what is recorded, and leaves out lvols that have gone since they were
// listed. An lvol that the target does not find may also not be loaded yet, after a
// restart; then it is still listed.
func (v *view) addRecorded(ctx context.Context, listed *domain.Listing, records map[string][]*xattrCall) error {
	missing, err := v.readRecorded(ctx, listed.Lvols, records)
	if err != nil || len(missing) == 0 {
		return err
	}
	now, err := rpc.GetLvols(v.store.UUID).Do(ctx, v.store.Client)
	if err != nil {
		return rpc.Unavailable(err)
	}
	for _, l := range now {
		if missing[l.UUID] {
			return disagree("lvol %s is listed, and yet not found", l.Name)
		}
	}
	for _, l := range listed.Lvols {
		if missing[l.Parent] && !missing[l.UUID] {
			return disagree("the parent of lvol %s has gone", l.Name)
		}
	}
	listed.Lvols = slices.DeleteFunc(listed.Lvols, func(l domain.Lvol) bool { return missing[l.UUID] })
	return nil
}

// forgetOthers forgets what is known of lvols that are not listed any more.
func (v *view) forgetOthers(listed []domain.Lvol) {
	there := make(map[string]bool, len(listed))
	for i := range listed {
		there[listed[i].UUID] = true
	}
	v.records.ForgetIf(func(uuid string, _ record) bool { return !there[uuid] })
	v.used.ForgetIf(func(uuid string, _ struct{}) bool { return !there[uuid] })
}

// noteHeads remembers the heads of a listing, and the names of their parents.
func (v *view) noteHeads(listed []domain.Lvol) {
	names := make(map[string]string, len(listed))
	for _, l := range listed {
		names[l.UUID] = l.Name
	}
	heads := make(map[string]string)
	for i := range listed {
		if v.isHead(&listed[i]) {
			heads[listed[i].UUID] = names[listed[i].Parent]
		}
	}
	v.heads.Replace(heads)
}

// errDisagree: somebody is changing the store, so another look may help.
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

// degraded is an lvol that is listed without a bdev: the target cannot open it, since its
// external snapshot is missing.
func degraded(l *spdktypes.LvolInfo) domain.Lvol {
	return domain.Lvol{UUID: l.UUID, Name: l.Name, ReadOnly: l.IsSnapshot, Degraded: true}
}
