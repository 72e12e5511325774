package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Engine implements the use cases. Package rebuild documents its methods for embedders.
type Engine struct {
	log    *zap.Logger
	locks  locks
	leases leases
	space  spaceLedger
	uses   uses
}

// New makes an engine. A nil logger logs nothing.
func New(log *zap.Logger) *Engine {
	if log == nil {
		log = zap.NewNop()
	}
	return &Engine{log: log}
}

// Site is a replica on a host.
type Site struct {
	Host    ports.Host
	Replica string

	// AllowInUse allows changes of a replica that is in use: its head is exported, a base
	// of a RAID or claimed (Lvol.UsedBy), and not by a run of this engine. Otherwise they
	// are refused with the name of the user. A change that would hang the host is always
	// refused. A source is changed only if its head has clusters of its own: the rebuild
	// takes a snapshot of it.
	AllowInUse bool
}

func (s site) replica(store domain.Listing) (domain.Replica, error) {
	r, err := domain.NewReplica(store, s.Replica)
	r.AllowInUse = s.AllowInUse
	return r, err
}

// destination is like replica, for a replica that is rebuilt from source.
func (s site) destination(store domain.Listing, source domain.Replica) (domain.Replica, error) {
	r, err := domain.NewDestination(store, s.Replica, source)
	r.AllowInUse = s.AllowInUse
	return r, err
}

// Request describes a rebuild: its source, its destination and its options.
type Request struct {
	Source, Destination Site

	// MoreSources are other healthy replicas of the volume. The rebuild is planned from
	// the first healthy one of Source and these. The others serve copies of snapshots that
	// are proven identical there, and replace a source that fails.
	MoreSources []Site

	// RightSource is the name of the source that is right where sources differ. The
	// rebuild is planned from it or fails, and data that only other sources have is lost.
	// With "" a rebuild is refused if its planned source lacks a user's snapshot that
	// another source has, a part of the size, or all the data.
	RightSource string

	// Volume is the volume's name. A Queue runs one rebuild of a volume at a time. With
	// "", rebuilds that share a source count as rebuilds of one volume.
	Volume string

	// Image is the volume's backing image as far as the caller knows it. The zero Image
	// leaves it to records and lineage; if both are silent, the rebuild is refused.
	Image   domain.Image
	Options domain.Options

	// Parallel is the number of copies at once, and of other operations beside them; 0:
	// DefaultParallel. With 1 all operations run one after the other.
	Parallel int

	// Bandwidth are limits that this rebuild observes, all of them. Other rebuilds may
	// share them, and they may change during the rebuild.
	Bandwidth []*Bandwidth

	// perSource are additional limits of copies, by position of the source. A Queue sets
	// it.
	perSource []*Bandwidth

	// use is the handle by which EndRebuilds ends the rebuild. A Queue sets it; otherwise
	// nil.
	use *use

	Proof    bool          // at the end, compare maps and checksums of all snapshots, if the hosts have them
	Views    bool          // at the end, read every view of both replicas back and compare
	Observer Observer      // may be nil
	Journal  ports.Journal // records this rebuild and knows earlier ones; may be nil
}

// DefaultParallel is the number of copies at once if a Request sets none. While one copy
// transfers data, others begin and end, which takes a few round trips each.
const DefaultParallel = 4

func (r Request) parallel() int {
	if r.Parallel > 0 {
		return r.Parallel
	}
	return DefaultParallel
}

// Plan returns what Rebuild would do. It changes nothing.
func (e *Engine) Plan(ctx context.Context, asked Request) (domain.Plan, error) {
	request := asked.guarded()
	if err := request.check(); err != nil {
		return domain.Plan{}, err
	}
	from := newSources(request)
	before := e.space.filled()
	seen, err := observeHosts(ctx, request, from)
	if err != nil {
		return domain.Plan{}, err
	}
	seen.filledBefore = before
	_, plan, err := e.plan(ctx, request, from, seen, nil)
	plan.Warnings = append(from.warnings(seen.passedOver), plan.Warnings...)
	return plan, err
}

// OnWaiting returns a context whose operations report long waits to tell: waits for
// something busy, or for another run of this process, after 2 seconds and then every 30
// seconds. The text says what is waited for and since when. A rebuild with an Observer
// sends EventWaiting instead. tell must return soon; several goroutines may call it at
// once.
func OnWaiting(ctx context.Context, tell func(text string)) context.Context {
	return retry.OnWaiting(ctx, tell)
}
