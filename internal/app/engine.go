package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Engine has the use cases. package rebuild documents its methods for embedders.
type Engine struct {
	log    *zap.Logger
	locks  locks
	leases leases
	space  spaceLedger
	uses   uses
}

// New makes an engine. A nil logger is silent.
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
	// refused. A source is changed only if its head has clusters of its own: a rebuild
	// takes a snapshot of it.
	AllowInUse bool
}

// replica picks the site's replica from a listing of its host.
func (s site) replica(store domain.Listing) (domain.Replica, error) {
	r, err := domain.NewReplica(store, s.Replica)
	r.AllowInUse = s.AllowInUse
	return r, err
}

// destination is replica for the one that is rebuilt from source.
func (s site) destination(store domain.Listing, source domain.Replica) (domain.Replica, error) {
	r, err := domain.NewDestination(store, s.Replica, source)
	r.AllowInUse = s.AllowInUse
	return r, err
}

// Request says what to rebuild, from what, and how.
type Request struct {
	Source, Destination Site

	// MoreSources are other healthy replicas of the volume. What has to come out
	// is planned from the first healthy one of Source and these; the others serve
	// copies beside it, of snapshots that are proven to be the same there, and
	// take over what a source fails in.
	MoreSources []Site

	// RightSource is the name of the source that is right where they differ: the
	// rebuild is planned from it, or fails, and what only others have is lost. With
	// "" a rebuild is refused if the source that it would be planned from lacks a
	// user's snapshot that another one has, a part of the size, or all the data.
	RightSource string

	// Volume is the volume's name. A Queue runs one rebuild of a volume at a
	// time; with "" what has a source in common is taken for one.
	Volume string

	// Image is the volume's backing image as far as the caller knows. The zero
	// Image leaves it to records and lineage, and is refused if they are silent.
	Image   domain.Image
	Options domain.Options

	// Parallel is how many copies go on at once, and as many other operations
	// beside them; 0: DefaultParallel. With 1 it is one operation after the other.
	Parallel int

	// Bandwidth is what limits this rebuild, each of them: its own, its hosts'.
	// They may be shared with other rebuilds, and changed while it runs.
	Bandwidth []*Bandwidth

	// perSource limits what is copied from each source's host besides. A Queue
	// sets it.
	perSource []*Bandwidth

	// use is what EndRebuilds ends. A Queue sets it, nil otherwise.
	use *use

	Proof    bool          // compare maps and checksums of all snapshots at the end, where hosts tell them
	Views    bool          // read every view of both replicas back at the end, and compare
	Observer Observer      // nil: nobody looks
	Journal  ports.Journal // what is kept of this rebuild and known of earlier ones; nil: nothing
}

// DefaultParallel is the number of copies at once if a Request has none. While one copy
// transfers data, others begin and end, which takes a few round trips each.
const DefaultParallel = 4

func (r Request) parallel() int {
	if r.Parallel > 0 {
		return r.Parallel
	}
	return DefaultParallel
}

// Plan observes the hosts and returns what Rebuild would do.
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

// OnWaiting returns a context by which the engine tells when it waits for something
// busy, or for another run of this process, longer than 2 seconds, and then every 30
// seconds: for what, and for how long already. A rebuild with an Observer tells that its
// EventWaiting instead. tell must return soon; several goroutines may call it at once.
func OnWaiting(ctx context.Context, tell func(text string)) context.Context {
	return retry.OnWaiting(ctx, tell)
}
