package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// world is the state of one history.
type world struct {
	seed    uint64
	targets []*target
	images  []*image
	volumes []*volume
	created int // volumes so far

	engine    *process
	processes int
	limits    app.Limits
	journal   *journal

	step    int
	tokens  token
	faults  atomic.Int64 // percentage of calls that fail
	calm    atomic.Bool  // only the test makes calls: no faults, no delays
	running sync.WaitGroup

	mu    sync.Mutex
	log   []string
	trace []string // the latest calls of the step
	bad   string   // a failure outside of the test's goroutine

	counters *counters
}

// failure ends a history.
type failure struct{ text string }

func fail(format string, args ...any) { panic(failure{fmt.Sprintf(format, args...)}) }

// failAsync is fail for other goroutines.
func (w *world) failAsync(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad == "" {
		w.bad = what
	}
}

// logf adds a line to the log of the step.
func (w *world) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "      "+fmt.Sprintf(format, args...))
}

// tracef adds a line to the trace of a step, which is shown if it fails.
func (w *world) tracef(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const enough = 400
	if len(w.trace) >= enough {
		w.trace = slices.Clone(w.trace[len(w.trace)-enough/2:])
	}
	w.trace = append(w.trace, time.Now().UTC().Format("15:04:05.000000")+" "+fmt.Sprintf(format, args...))
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// some picks up to n, in any order.
func some[T any](r *rand.Rand, from []T, n int) []T {
	from = slices.Clone(from)
	r.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	return from[:min(n, len(from))]
}

// newWorld builds hosts of both flavours, each with foreign lvols.
func newWorld(seed uint64, tally *counters) *world {
	w := &world{seed: seed, journal: newJournal(), counters: tally}
	w.calm.Store(true)
	r := rand.New(rand.NewPCG(seed, 0))
	fabric := memory.NewFabric()
	for n := range 3 + r.IntN(3) {
		flavour := memory.Fork
		if r.IntN(3) == 0 {
			flavour = memory.Upstream
		}
		w.targets = append(w.targets, w.newTarget(fabric, memory.Config{Name: fmt.Sprintf("disk-%d", n+1), Flavour: flavour}))
		w.log = append(w.log, fmt.Sprintf("      disk-%d: %s", n+1, flavour))
	}
	for _, s := range w.targets {
		w.createForeigners(s)
	}
	w.limits = app.Limits{PerSource: 1 + r.IntN(3), PerDestination: 1 + r.IntN(3)}
	w.engine = w.newProcess(w.limits)
	return w
}

// createForeigners creates lvols that must not change: a replica of another volume whose
// name has the same prefix, and lvols of no replica.
func (w *world) createForeigners(s *target) {
	ctx := context.Background()
	must := func(uuid string, err error) string {
		if err != nil {
			fail("settle: %v", err)
		}
		return uuid
	}
	var made []string
	for _, name := range []string{"vol-1-r-8e9f0a1b", "somebody"} {
		head := must(s.host.Create(ctx, name, 4*clusterSize))
		w.write(s, head, 1, w.fresh(3))
		made = append(made, head, must(s.host.Snapshot(ctx, head, name+"-snap-x", domain.Attributes{})))
		w.write(s, head, 2, w.fresh(2))
	}
	// Another image that Longhorn downloads.
	made = append(made, must(s.host.Create(ctx, domain.ImageLvolName("other", s.list().UUID)+"-temp-head", clusterSize)))
	all := s.capture(func(string) bool { return true })
	s.foreign = make(map[string]lvolState)
	for _, uuid := range made {
		s.foreign[uuid] = all[uuid]
	}
}

// fresh returns tokens that were never written before.
func (w *world) fresh(n int) view {
	v := make(view, n)
	for i := range v {
		w.tokens++
		v[i] = w.tokens
	}
	return v
}

func (w *world) write(s *target, uuid string, at int, v view) {
	if err := s.host.WriteAt(uuid, v.bytes(), uint64(at)*cellSize); err != nil {
		fail("write: %v", err)
	}
}

// runStep plays the n-th step.
func (w *world) runStep(n int) {
	r := rand.New(rand.NewPCG(w.seed, uint64(n)+1))
	d := draw(r, n)
	w.step = n
	w.mu.Lock()
	w.log = append(w.log, fmt.Sprintf("%4d  %s", n, d.name))
	w.trace = nil
	w.mu.Unlock()
	d.do(w, r)
	w.quiesce()
	w.check()
	w.counters.add(d.name)
}

// startFaults lets calls be delayed and fail.
func (w *world) startFaults(faults int64) {
	w.faults.Store(faults)
	w.calm.Store(false)
}

// quiesce ends all failures: running calls end, targets are up again, and a dead engine is
// replaced.
func (w *world) quiesce() {
	w.faults.Store(0)
	for _, s := range w.targets {
		s.disarm()
		s.resume()
	}
	w.running.Wait()
	w.calm.Store(true)
	if !w.engine.disarm() {
		w.logf("a new engine starts")
		w.engine = w.newProcess(w.limits)
	}
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad != "" {
		panic(failure{w.bad})
	}
}

// maxWait is more than anything takes. It costs nothing.
const maxWait = 3 * time.Hour

// finish waits for another goroutine.
func (w *world) finish(done <-chan struct{}, what string) {
	select {
	case <-done:
	case <-time.After(maxWait):
		fail("%s: it has not ended after %v", what, maxWait)
	}
}

// end ends the history and everything that is running in it.
func (w *world) end() {
	for _, s := range w.targets {
		s.disarm()
		s.resume()
	}
	w.calm.Store(true)
	w.engine.die()
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	if err := w.engine.quit(ctx); err != nil {
		w.failAsync("the queue cannot be closed: " + err.Error())
	}
	for _, s := range w.targets {
		s.host.Restart()
	}
	w.running.Wait()
}

// journal is a ports.Journal that survives crashes of engines.
type journal struct {
	mu      sync.Mutex
	sealing map[string][]ports.Entry // by store and replica
}

func newJournal() *journal { return &journal{sealing: make(map[string][]ports.Entry)} }

// Append implements ports.Journal.
func (j *journal) Append(_ context.Context, e ports.Entry) error {
	if e.Sealed == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	key := e.Store + "/" + e.Run.Replica
	j.sealing[key] = append(slices.DeleteFunc(j.sealing[key], func(old ports.Entry) bool { return old.Sealed.Snapshot == e.Sealed.Snapshot }), e)
	return nil
}

// Sealings implements ports.Journal.
func (j *journal) Sealings(_ context.Context, store, replica string) ([]domain.Sealing, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var known []domain.Sealing
	for _, e := range j.sealing[store+"/"+replica] {
		known = append(known, e.Sealed.Sealing)
	}
	return known, nil
}

// counters counts events of histories.
type counters struct {
	mu    sync.Mutex
	count map[string]int
}

func newCounters() *counters { return &counters{count: make(map[string]int)} }

func (t *counters) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count[name]++
}

func (t *counters) String() string {
	var parts []string
	for name, n := range t.count {
		parts = append(parts, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// oneLine shortens an error for the log.
func oneLine(err error) string {
	if err == nil {
		return "done"
	}
	kind := "failed"
	if errors.Is(err, app.ErrRefused) {
		kind = "refused"
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	const enough = 220
	if len(text) > enough {
		text = text[:enough] + "…"
	}
	return kind + ": " + text
}
