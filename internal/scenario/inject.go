package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// errCrashed is what every call of a dead engine ends with: it reaches no host. No
// retry helps.
var errCrashed = fmt.Errorf("the engine has crashed: %w", ports.ErrInvalid)

var errTimedOut = fmt.Errorf("%w: no answer came in all the time that the call had: %w", ports.ErrUnavailable, context.DeadlineExceeded)

// memoryFault is what happens to the call.
func (f Fault) memoryFault() memory.Fault {
	switch {
	case f.Crash == CrashEngine && f.After && f.Call == "copy":
		return memory.Fault{Unwatched: true, After: errCrashed}
	case f.Crash == CrashEngine && f.After:
		return memory.Fault{After: errCrashed}
	case f.Crash == CrashEngine:
		return memory.Fault{Before: errCrashed}
	case f.Crash == CrashTarget && f.After:
		return memory.Fault{Restart: true}
	case f.Crash == CrashTarget:
		return memory.Fault{Before: fmt.Errorf("%w: the target has crashed", ports.ErrUnavailable), Restart: true}
	}
	switch f.Error {
	case FaultBusy:
		return memory.Fault{Before: ports.ErrBusy}
	case FaultNoSpace:
		return memory.Fault{Before: ports.ErrNoSpace}
	case FaultNotFound:
		return memory.Fault{Before: ports.ErrNotFound}
	case FaultTimeout:
		return memory.Fault{Before: errTimedOut}
	case FaultAnswerLost:
		return memory.Fault{After: fmt.Errorf("%w: the answer was lost", ports.ErrUnavailable)}
	case FaultCutOff:
		return memory.Fault{Before: fmt.Errorf("%w: the copy was cut off", ports.ErrUnavailable), AfterClusters: 1}
	case FaultMissingCluster:
		return memory.Fault{Spoil: memory.SpoilLess}
	case FaultExtraCluster:
		return memory.Fault{Spoil: memory.SpoilMore}
	case FaultOtherBytes:
		return memory.Fault{Spoil: memory.SpoilBytes}
	case FaultOtherPlace:
		return memory.Fault{Spoil: memory.SpoilPlace}
	}
	return memory.Fault{Before: ports.ErrUnavailable}
}

// Injection is what goes wrong in one run.
type Injection struct {
	world  *World
	run    int
	report func(Fault)

	mu      sync.Mutex
	calls   map[Side]map[string]int
	hits    []int // how often, by fault
	crashed *Fault
}

// Injection has the faults of a run befall the hosts' calls, from now until End. tell
// is told each that strikes, on the goroutine of the call; nil: nobody is.
func (w *World) InjectFaults(run int, tell func(Fault)) *Injection {
	t := &Injection{
		world: w, run: run, report: tell,
		calls: map[Side]map[string]int{SideSource: {}, SideDestination: {}}, hits: make([]int, len(w.Faults)),
	}
	for side, host := range t.hosts() {
		host.Inject(func(c memory.Call) memory.Fault { return t.inject(side, c) })
	}
	return t
}

func (t *Injection) hosts() map[Side]*memory.Host {
	return map[Side]*memory.Host{SideSource: t.world.Source, SideDestination: t.world.Destination}
}

// End ends the trouble.
func (t *Injection) End() {
	for _, host := range t.hosts() {
		host.Inject(nil)
	}
}

// Hit reports whether anything has struck.
func (t *Injection) Hit() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.hits {
		if n > 0 {
			return true
		}
	}
	return false
}

// Crashed is the fault at which the engine died, in words; nil: it lives.
func (t *Injection) Crashed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashed == nil {
		return nil
	}
	return errors.New(t.crashed.String())
}

// Missed says of each of the run's faults that has not struck why not.
func (t *Injection) Missed() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.world.Faults {
		f = f.withDefaults()
		if f.Run != t.run || t.hits[i] > 0 {
			continue
		}
		all = append(all, fmt.Sprintf("faults[%d] never struck (%s); such calls in run %d: %d", i, f, t.run, t.calls[f.Side][f.Call]))
	}
	return all
}

func (t *Injection) inject(side Side, c memory.Call) memory.Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashed != nil {
		return memory.Fault{Before: errCrashed}
	}
	t.calls[side][c.Method]++
	n := t.calls[side][c.Method]
	for i, f := range t.world.Faults {
		f = f.withDefaults()
		if f.Run != t.run || f.Side != side || f.Call != c.Method || n < f.Nth || n-f.Nth >= f.Times {
			continue
		}
		t.hits[i]++
		if t.report != nil {
			said := f
			said.Nth, said.Times = n, 1
			t.report(said)
		}
		if f.Crash == CrashEngine {
			t.crashed = &f
			for _, host := range t.hosts() {
				host.Orphan()
			}
		}
		return f.memoryFault()
	}
	return memory.Fault{}
}
