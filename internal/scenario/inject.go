package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// errCrashed is the error of every call of a crashed engine: the call reaches no host, and
// no retry helps.
var errCrashed = fmt.Errorf("the engine has crashed: %w", ports.ErrInvalid)

var errTimedOut = fmt.Errorf("%w: the call timed out: %w", ports.ErrUnavailable, context.DeadlineExceeded)

// memoryFault is the fault as the memory host injects it.
func (f Fault) memoryFault() memory.Fault {
	switch {
	case f.Crash == crashMember:
		return memory.Fault{}
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
	if fault, known := faultsByError[f.Error]; known {
		return fault
	}
	return memory.Fault{Before: ports.ErrUnavailable}
}

// faultsByError are those of all errors but FaultUnavailable.
var faultsByError = map[FaultError]memory.Fault{
	FaultBusy:           {Before: ports.ErrBusy},
	FaultNoSpace:        {Before: ports.ErrNoSpace},
	FaultNotFound:       {Before: ports.ErrNotFound},
	FaultTimeout:        {Before: errTimedOut},
	FaultAnswerLost:     {After: fmt.Errorf("%w: the answer was lost", ports.ErrUnavailable)},
	FaultCutOff:         {Before: fmt.Errorf("%w: the copy was cut off", ports.ErrUnavailable), AfterClusters: 1},
	FaultMissingCluster: {Spoil: memory.SpoilLess},
	FaultExtraCluster:   {Spoil: memory.SpoilMore},
	FaultOtherBytes:     {Spoil: memory.SpoilBytes},
	FaultOtherPlace:     {Spoil: memory.SpoilPlace},
}

// Injection injects the faults of one run.
type Injection struct {
	world  *World
	run    int
	report func(Fault)

	// Snapshot is closed at the call at which the user's snapshot is taken.
	Snapshot chan struct{}

	mu      sync.Mutex
	calls   map[Side]map[string]int
	hits    []int // by fault
	crashed *Fault
}

// InjectFaults injects the faults of a run into the hosts' calls, from now until End.
// report, if not nil, is called with each fault that occurs, on the goroutine of the call.
func (w *World) InjectFaults(run int, report func(Fault)) *Injection {
	t := &Injection{
		world: w, run: run, report: report, Snapshot: make(chan struct{}),
		calls: map[Side]map[string]int{SideSource: {}, SideDestination: {}}, hits: make([]int, len(w.Faults)),
	}
	for host, side := range t.hosts() {
		host.Inject(func(c memory.Call) memory.Fault { return t.inject(side, c) })
	}
	if live := w.Live; live != nil {
		live.Mirror.Inject(t.injectMirror)
	}
	return t
}

func (t *Injection) hosts() map[*memory.Host]Side {
	all := map[*memory.Host]Side{t.world.Destination: SideDestination}
	for _, host := range t.world.members {
		all[host] = SideSource
	}
	return all
}

// injectMirror fails the calls of a crashed engine; the clients' go on.
func (t *Injection) injectMirror(c memory.Call) memory.Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashed != nil && !strings.HasPrefix(c.Method, "member-") {
		return memory.Fault{Before: errCrashed}
	}
	return memory.Fault{}
}

// End ends the injection.
func (t *Injection) End() {
	for host := range t.hosts() {
		host.Inject(nil)
	}
	if live := t.world.Live; live != nil {
		live.Mirror.Inject(nil)
	}
}

// Hit reports whether any fault has occurred.
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

// Crashed describes the fault at which the engine crashed; nil: it did not.
func (t *Injection) Crashed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.crashed == nil {
		return nil
	}
	return errors.New(t.crashed.String())
}

// Missed describes each fault of the run that did not occur.
func (t *Injection) Missed() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.world.Faults {
		f = f.withDefaults()
		if f.Run != t.run || t.hits[i] > 0 {
			continue
		}
		all = append(all, fmt.Sprintf("%s did not occur (%s); matching calls in run %d: %d", t.world.FaultField(i), f, t.run, t.calls[f.Side][f.Call]))
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
	if t.run == 1 && t.world.Live.takesSnapshotAt(side, c.Method, n) {
		close(t.Snapshot)
	}
	for i, f := range t.world.Faults {
		f = f.withDefaults()
		if f.Run != t.run || f.Side != side || f.Call != c.Method || n < f.Nth || n-f.Nth >= f.Times {
			continue
		}
		t.hits[i]++
		if t.report != nil {
			occurred := f
			occurred.Nth, occurred.Times = n, 1
			t.report(occurred)
		}
		if f.Crash == CrashEngine {
			t.crashed = &f
			for host := range t.hosts() {
				host.Orphan()
			}
		}
		if f.Crash == crashMember {
			t.world.members[f.member-1].Kill()
		}
		return f.memoryFault()
	}
	return t.pace(c)
}

// pace gives the clients of a live volume time during copies.
func (t *Injection) pace(c memory.Call) memory.Fault {
	if t.world.Live != nil && c.Method == "copy" {
		return memory.Fault{Delay: copyTakes}
	}
	return memory.Fault{}
}

// FaultField is the field of a file that describes one of the faults.
func (w *World) FaultField(i int) string {
	if w.Faults[i].Crash == crashMember {
		return "online.dies"
	}
	return fmt.Sprintf("faults[%d]", i)
}
