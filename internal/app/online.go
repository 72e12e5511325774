package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// DefaultFreezeLimit is how long a volume is frozen at most.
const DefaultFreezeLimit = 5 * time.Second

// maxCuts is how often a run cuts the volume at most: again after the mirror lost the live
// head, or a freeze ended too early.
const maxCuts = 3

// OnlineRequest describes a rebuild under a live volume. Source and MoreSources are all whole
// members of the mirror.
type OnlineRequest struct {
	Request

	Mirror  ports.Mirror
	Freezer ports.Freezer

	// FreezeLimit is how long clients are stopped at most; 0: DefaultFreezeLimit.
	FreezeLimit time.Duration
}

// RebuildOnline makes the destination a whole member of a mirror while clients read and write
// it. They are stopped for as long as it takes to take a snapshot of every member and to let
// the destination's live head join. From then on the live head has every write; the tree below
// it is rebuilt as Rebuild does. They are stopped again while the live head is grafted onto the
// tree. If the rebuild fails or ctx ends, the live head leaves
// the mirror and is deleted, and the clients notice nothing.
//
// Besides those of Rebuild, errors wrap ports.ErrNotFrozen if the volume could not be frozen
// in time. Then the members were not changed.
func (e *Engine) RebuildOnline(ctx context.Context, asked OnlineRequest) (Report, error) {
	live := &liveRun{
		mirror: guard.Mirror{Mirror: asked.Mirror}, limit: cmp.Or(asked.FreezeLimit, DefaultFreezeLimit), ownersTurn: make(chan struct{}, 1),
		offering: make(chan struct{}, 1),
	}
	live.freezer = lockedFreezer{
		Freezer: asked.Freezer, stopped: live.noteFreeze,
		lock: func(ctx context.Context) (func(), error) { return e.lockFreezes(ctx, live.rebuild.sources.sites) },
	}
	live.cutter, _ = asked.Mirror.(ports.Cutter)
	if err := asked.check(); err != nil {
		return Report{Outcome: OutcomeRefused}, err
	}
	report, err := e.rebuild(ctx, asked.Request, live)
	report.Online = live.report()
	if len(live.kept) > 0 {
		report.Notices = append(report.Notices, fmt.Sprintf("the members keep %s until a purge of the volume (engine volume purge) deletes it", strings.Join(live.kept, ", ")))
	}
	return report, err
}

// PlanOnline returns what RebuildOnline would do. It changes nothing. What it tells of the
// snapshots that the cut will have is a preview: clients go on writing.
func (e *Engine) PlanOnline(ctx context.Context, asked OnlineRequest) (domain.Plan, error) {
	if err := asked.check(); err != nil {
		return domain.Plan{}, err
	}
	request := asked.guarded()
	request.live = &liveRun{mirror: guard.Mirror{Mirror: asked.Mirror}, freezer: lockedFreezer{Freezer: asked.Freezer}}
	request.live.begin(&rebuild{engine: e, request: request, run: executor.NewRun(ports.Run{Replica: request.Destination.Replica})})
	return e.planRequest(ctx, request)
}

func (r OnlineRequest) check() error {
	switch {
	case r.Mirror == nil:
		return refusef("no mirror")
	case r.Freezer == nil:
		return refusef("no freezer")
	case r.FreezeLimit < 0:
		return refusef("a freeze of at most %s: expected a positive time", r.FreezeLimit)
	case r.Destination.Host == nil || r.Source.Host == nil:
		return nil // refused as any rebuild
	}
	if err := canBeLive("the destination", r.Destination.Host); err != nil {
		return err
	}
	if _, ok := ports.As[ports.Renamer](r.Destination.Host); !ok {
		return refusef("the destination's host cannot rename lvols, which a rebuild under a live volume needs: rebuild the replica offline")
	}
	for _, s := range r.sources() {
		if s.Host == nil {
			return nil
		}
		if err := canBeLive("replica "+s.Replica, s.Host); err != nil {
			return err
		}
		if _, ok := ports.As[ports.Snapshotter](s.Host); !ok {
			return refusef("the host of replica %s cannot take snapshots, which a rebuild under a live volume needs: rebuild the replica offline", s.Replica)
		}
		if _, ok := ports.As[ports.Merger](s.Host); !ok {
			return refusef("the host of replica %s cannot merge snapshots, which takes a failed cut away again: rebuild the replica offline", s.Replica)
		}
	}
	return nil
}

func canBeLive(whose string, host ports.Host) error {
	if _, ok := ports.As[ports.Live](host); ok {
		return nil
	}
	return refusef("the host of %s cannot export lvols to live volumes: rebuild the replica offline", whose)
}

// liveRun is the part of a rebuild that concerns the live volume. The methods that plans of
// both kinds call accept nil, for a rebuild offline.
type liveRun struct {
	mirror  ports.Mirror
	cutter  ports.Cutter // nil: the engine takes the snapshots
	freezer lockedFreezer
	limit   time.Duration

	rebuild *rebuild

	mu      sync.Mutex
	volume  domain.Volume // as last seen
	cut     domain.Cut    // of the current plan
	landed  bool          // the live head of that cut has its final name
	cuts    int
	members []int           // positions of the members among the sources, in the plan's order
	ways    []ports.Address // to the cut, by position in members
	head    liveLvol
	freezes []time.Duration
	kept    []string // snapshots of the cuts that were made: they stay
	unseen  bool     // the mirror did not list its members at the end

	plannedAgain bool // because members differed

	verified    *observation // of everything below the live head, before the landing; nil: it was not verified
	maybeFrozen bool         // the last freeze failed, perhaps its thaw
	left        error        // the last cut could not be undone; nil: nothing of it is left

	frozen context.Context // of the freeze that is going on

	cutByOwnerAlready bool
	ownersTurn        chan struct{} // holds a token while the owner is asked to cut
	offering          chan struct{} // holds a token while the way from the live head is opened
}

// liveLvol is the live head.
type liveLvol struct {
	uuid    string // "": there is none
	offered bool   // its way may be open
	naming  bool   // it may have its final name
	joins   bool   // it may be a member
	way     ports.Address
	lowest  string // of its chain, as seen before the freeze of the landing; "": not known
}

func (l *liveRun) begin(r *rebuild) {
	if l != nil {
		l.rebuild = r
	}
}

// planAgain asks for another plan, once, if the members differ: a user may have taken a snapshot of
// the volume between their listings.
func (l *liveRun) planAgain(refusal error) error {
	if l == nil || l.plannedAgain || !errors.As(refusal, &sourcesDiffer{}) {
		return refusal
	}
	l.plannedAgain = true
	return fmt.Errorf("%w: %w", executor.ErrPlanAgain, refusal)
}

func (l *liveRun) report() *OnlineReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	report := &OnlineReport{Freezes: len(l.freezes), Members: l.volume.Members, LastSeen: l.unseen, Replicas: make(map[string]string)}
	if len(l.freezes) > 0 {
		report.Frozen = slices.Max(l.freezes)
	}
	if l.cut.Made() {
		report.Cut = l.cut.Snapshot
	}
	for at := range l.rebuild.sources.sites {
		report.Replicas[l.rebuild.sources.firstHead(at)] = l.rebuild.sources.name(at)
	}
	d := l.rebuild.report.Destination
	report.Replicas[l.head.uuid] = d.Name + " on lvstore " + d.Store.Name
	if d.Head != nil {
		report.Replicas[d.Head.UUID] = report.Replicas[l.head.uuid]
	}
	delete(report.Replicas, "") // of heads that are not known
	return report
}

// see adds the volume to an observation. After the cut, the replicas are what they were then.
func (l *liveRun) see(s observation, volume domain.Volume) (observation, error) {
	if l == nil {
		return s, nil
	}
	l.mu.Lock()
	l.volume = volume
	made, joined := l.cut.Made(), l.cut.Joined
	l.landed = made && s.destination.Head != nil && s.destination.Head.UUID == joined.Head
	if l.cut.Snapshot == "" {
		l.cut = domain.Cut{
			Snapshot:   domain.CutName(executor.NewID()),
			Attributes: domain.Attributes{CreatedAt: time.Now().UTC().Truncate(time.Second)},
		}
	}
	l.mu.Unlock()
	if made {
		if err := volume.CheckUnbroken(joined); err != nil {
			return s, fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	s, err := l.atCut(s)
	return s, refused(err)
}

// errBroken says that the live head has missed a write.
var errBroken = errors.New("the mirror lost the destination")

// atCut turns replicas to what they were at the cut, once it is made.
func (l *liveRun) atCut(s observation) (observation, error) {
	if l == nil || !l.cut.Made() {
		return s, nil
	}
	var err error
	if s.source, err = domain.AtCut(s.source, l.cut); err != nil {
		return s, err
	}
	others := s.others
	s.others = nil
	for _, other := range others {
		// One that has no cut was no member then, or was reverted: it serves nothing.
		if other.replica, err = domain.AtCut(other.replica, l.cut); err == nil {
			s.others = append(s.others, other)
		}
	}
	whole := s.destination.Store
	s.whole = &whole
	s.destination, err = domain.BelowLive(s.destination, l.cut, s.source)
	return s, err
}

// plan has the domain make the plan.
func (l *liveRun) plan(s observation, base domain.Base, options domain.Options) (domain.Plan, error) {
	if l == nil {
		return domain.PlanRebuild(s.source, s.destination, base, options)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.landed { // a source was lost since
		resolved, err := domain.ResolveBase(base, s.source, s.destination)
		return domain.Plan{Base: resolved}, err
	}
	v := domain.LiveVolume{Volume: l.volume, Replicas: []domain.Replica{s.source}}
	members := []int{s.primary}
	for _, other := range s.others {
		v.Replicas, members = append(v.Replicas, other.replica), append(members, other.at)
	}
	if !l.cut.Made() {
		l.members = members
	}
	plan, err := domain.PlanOnline(v, s.destination, base, l.cut, options)
	if err == nil && !l.cut.Made() && len(plan.Operations) > 0 {
		warnings := v.SpaceWarnings(s.destination, plan)
		plan.Warnings = append(plan.Warnings, warnings...)
		l.rebuild.addWarnings(warnings...) // the plan after the cut has none
	}
	return plan, err
}
