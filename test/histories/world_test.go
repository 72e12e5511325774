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

// world is everything in one history.
type world struct {
	seed    uint64
	sites   []*site
	images  []*image
	volumes []*volume
	made    int // volumes so far

	engine    *process
	processes int
	limits    app.Limits
	journal   *journal

	step     int
	tokens   token
	faults   atomic.Int64 // how many of 100 calls fail
	calm     atomic.Bool  // nobody but the test calls: nothing is delayed
	underway sync.WaitGroup

	mu    sync.Mutex
	log   []string
	trace []string // the newest calls of the step
	bad   string   // what has broken outside of the test's goroutine

	tally *tally
}

// broken is how a history ends in which something is wrong.
type broken struct{ what string }

func fail(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

// broke is fail for other goroutines.
func (w *world) broke(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad == "" {
		w.bad = what
	}
}

// say adds to the log of the step.
func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "      "+fmt.Sprintf(format, args...))
}

// note keeps what goes on inside a step, which is shown where it fails.
func (w *world) note(format string, args ...any) {
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

// newWorld builds hosts of both flavours, with something of somebody else's on
// each.
func newWorld(seed uint64, tally *tally) *world {
	w := &world{seed: seed, journal: newJournal(), tally: tally}
	w.calm.Store(true)
	r := rand.New(rand.NewPCG(seed, 0))
	fabric := memory.NewFabric()
	for n := range 3 + r.IntN(3) {
		flavour := memory.Fork
		if r.IntN(3) == 0 {
			flavour = memory.Upstream
		}
		w.sites = append(w.sites, w.newSite(fabric, memory.Config{Name: fmt.Sprintf("disk-%d", n+1), Flavour: flavour}))
		w.log = append(w.log, fmt.Sprintf("      disk-%d: %s", n+1, flavour))
	}
	for _, s := range w.sites {
		w.settleForeigners(s)
	}
	w.limits = app.Limits{PerSource: 1 + r.IntN(3), PerDestination: 1 + r.IntN(3)}
	w.engine = w.newProcess(w.limits)
	return w
}

// settleForeigners makes what must stay as it is: another volume's replica whose
// name begins as ours do, and things that are no replica's.
func (w *world) settleForeigners(s *site) {
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
	all := s.photograph(func(string) bool { return true })
	s.foreign = make(map[string]shot)
	for _, uuid := range made {
		s.foreign[uuid] = all[uuid]
	}
}

// fresh are tokens that were never written before.
func (w *world) fresh(n int) view {
	v := make(view, n)
	for i := range v {
		w.tokens++
		v[i] = w.tokens
	}
	return v
}

func (w *world) write(s *site, uuid string, at int, v view) {
	if err := s.host.WriteAt(uuid, v.bytes(), uint64(at)*cellSize); err != nil {
		fail("write: %v", err)
	}
}

// take takes the n-th step.
func (w *world) take(n int) {
	r := rand.New(rand.NewPCG(w.seed, uint64(n)+1))
	d := draw(r, n)
	w.step = n
	w.mu.Lock()
	w.log = append(w.log, fmt.Sprintf("%4d  %s", n, d.name))
	w.trace = nil
	w.mu.Unlock()
	d.do(w, r)
	w.peace()
	w.check()
	w.tally.step(d.name)
}

// turmoil lets calls take their time, and fail.
func (w *world) turmoil(faults int64) {
	w.faults.Store(faults)
	w.calm.Store(false)
}

// peace ends all trouble: what is under way comes to its end, what is down comes
// up, and a dead engine is followed by a new one.
func (w *world) peace() {
	w.faults.Store(0)
	for _, s := range w.sites {
		s.calmDown()
		s.resume()
	}
	w.underway.Wait()
	w.calm.Store(true)
	if !w.engine.live() {
		w.say("a new engine starts")
		w.engine = w.newProcess(w.limits)
	}
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad != "" {
		panic(broken{w.bad})
	}
}

// patience is more than anything takes. It costs nothing.
const patience = 3 * time.Hour

// finish waits for what another goroutine does.
func (w *world) finish(done <-chan struct{}, what string) {
	select {
	case <-done:
	case <-time.After(patience):
		fail("%s: it has not ended after %v", what, patience)
	}
}

// end ends the history: nothing of it may go on.
func (w *world) end() {
	for _, s := range w.sites {
		s.calmDown()
		s.resume()
	}
	w.calm.Store(true)
	w.engine.die()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.engine.quit(ctx); err != nil {
		w.broke("the queue cannot be closed: " + err.Error())
	}
	for _, s := range w.sites {
		s.host.Restart()
	}
	w.underway.Wait()
}

// journal is a ports.Journal that outlives the engines.
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

// tally counts what histories have seen.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func newTally() *tally { return &tally{count: make(map[string]int)} }

func (t *tally) step(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count[name]++
}

func (t *tally) String() string {
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
