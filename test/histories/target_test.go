package histories

import (
	"context"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// target is a target with a store and its failures.
type target struct {
	world *world
	name  string
	host  *memory.Host

	foreign   map[string]lvolState // foreign lvols, by UUID
	misplaced map[string]misplaced // entry points, by name

	untidy bool // in-flight images or open resources may remain

	// late: calls without a waiting caller may have taken effect, such as a graft of an
	// lvol while it was deleted, which hides the lvol until a restart.
	late bool

	mu      sync.Mutex
	calls   int
	hangAt  int // number of the call at which it hangs; 0: none
	hangFor time.Duration
	begins  chan struct{} // closed when it begins to hang
	resumes chan struct{} // closed when it goes on; nil: it does not hang

	restartAt int // number of the call of its store at which it restarts; 0: none
	injected  int
	downFor   time.Duration
	downUntil time.Time
	seen      map[string]int // calls by kind, since the step began
}

// storeClusters are more than a history needs.
const storeClusters = 2000

func (w *world) newTarget(fabric *memory.Fabric, config memory.Config) *target {
	config.ClusterSize, config.BlockSize, config.TotalClusters, config.Seed = clusterSize, clusterSize, storeClusters, w.seed+1
	s := &target{world: w, name: config.Name, host: fabric.NewHost(config), misplaced: make(map[string]misplaced), begins: make(chan struct{}), seen: make(map[string]int)}
	s.host.Inject(s.inject)
	return s
}

// waitWhileHanging delays a call until the target goes on. The call is done then, even if
// its caller has given up.
func (s *target) waitWhileHanging() {
	s.mu.Lock()
	s.calls++
	if s.calls == s.hangAt && s.resumes == nil {
		s.resumes = make(chan struct{})
		close(s.begins)
		s.world.tracef("%s hangs for %v", s.name, s.hangFor)
		time.AfterFunc(s.hangFor, s.resume)
	}
	resumes := s.resumes
	s.mu.Unlock()
	if resumes != nil {
		<-resumes
	}
}

func (s *target) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resumes != nil {
		close(s.resumes)
		s.resumes, s.begins = nil, make(chan struct{})
		s.world.tracef("%s goes on", s.name)
	}
}

func (s *target) isHanging() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumes != nil
}

// hangs is closed when it begins to hang; nil if it is not wanted.
func (s *target) hangs(wanted bool) <-chan struct{} {
	if !wanted {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begins
}

func (s *target) hangSoon(calls int, duration time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangAt, s.hangFor = s.calls+calls, duration
}

func (s *target) restartSoon(calls int, down time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restartAt, s.downFor = s.injected+calls, down
}

// disarm cancels planned failures.
func (s *target) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangAt, s.restartAt, s.downUntil = 0, 0, time.Time{}
	clear(s.seen)
}

// inject decides the fault of a call of the store. It depends on the seed, the step and
// the call only, not on the order of goroutines.
func (s *target) inject(c memory.Call) memory.Fault {
	w := s.world
	if w.calm.Load() {
		return memory.Fault{}
	}
	s.mu.Lock()
	s.injected++
	restart := s.injected == s.restartAt
	down := time.Now().Before(s.downUntil)
	if restart {
		s.downUntil = time.Now().Add(s.downFor)
	}
	what := s.name + " " + c.Method + " " + withoutID(c.Name)
	s.seen[what]++
	what = fmt.Sprintf("%d %s %d", w.seed, what, s.seen[what])
	s.mu.Unlock()
	if restart {
		s.host.Restart()
		w.tracef("%s restarts at %s %s and is away for %v", s.name, c.Method, c.Name, s.downFor)
		return memory.Fault{Before: errDown}
	}
	if down {
		return memory.Fault{Before: errDown}
	}
	drawn := fnv.New64a()
	fmt.Fprintf(drawn, "%d %s", w.step, what)
	dice := mixBits(drawn.Sum64())
	f := s.withDelay(c, dice)
	if int64(dice>>40&0xffff)%100 < w.faults.Load() {
		s.addFault(c, &f, dice>>56)
	}
	w.tracef("%s %s %s%s", s.name, c.Method, c.Name, tell(f))
	return f
}

var errDown = fmt.Errorf("%w: the target is down", ports.ErrUnavailable)

// withDelay spreads calls over time, so that they overlap. Only a copy takes longer than
// the grace of a change.
func (s *target) withDelay(c memory.Call, dice uint64) memory.Fault {
	jitter := time.Duration(dice>>8&0xff) * time.Nanosecond
	switch {
	case c.Method == "copy":
		return memory.Fault{Delay: jitter + units(dice, []int{1, 10, 200, 2000}[dice&3])}
	case dice&3 == 0:
		return memory.Fault{Delay: jitter + units(dice, []int{1, 1, 10, 150}[dice>>2&3])}
	}
	return memory.Fault{}
}

// units are a multiple of a random duration of up to 4 ms.
func units(dice uint64, times int) time.Duration {
	return time.Duration(int(dice>>16&0xfff)*times) * time.Microsecond
}

// addFault lets the call fail for a transient reason.
func (s *target) addFault(c memory.Call, f *memory.Fault, dice uint64) {
	switch dice & 3 {
	case 0, 1:
		f.Before = ports.ErrUnavailable
		f.AfterClusters = dice >> 4 & 3
	case 2:
		f.After = ports.ErrUnavailable
		if c.Method == "open" {
			// An adapter makes several calls to a target for it, and undoes them.
			f.Before, f.After = ports.ErrUnavailable, nil
		}
	case 3:
		f.Before = ports.ErrUnavailable
		switch c.Method {
		case "graft", "seal", "clone", "delete", "copy", "prove": // they lock lvols
			f.Before, f.Delay = ports.ErrBusy, 0
		}
	}
}

func tell(f memory.Fault) string {
	var s strings.Builder
	if f.Delay > 0 {
		fmt.Fprintf(&s, ", takes %v", f.Delay)
	}
	if f.Before != nil {
		fmt.Fprintf(&s, ", fails: %v", f.Before)
	}
	if f.After != nil {
		s.WriteString(", its answer is lost")
	}
	return s.String()
}

// mixBits spreads a hash over all bits.
func mixBits(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// In-flight names end in digits that are new in every run.
var id = regexp.MustCompile(`-rebuilding-[0-9a-f]{8}$`)

func withoutID(name string) string { return id.ReplaceAllString(name, "-rebuilding") }

func isInFlight(name string) bool { return id.MatchString(name) }

func isImageInFlight(name string) bool {
	return isInFlight(name) && strings.HasPrefix(name, "bi-rebuilding-")
}

// lvolState is an lvol with its bytes.
type lvolState struct {
	lvol domain.Lvol
	view view
}

func (s lvolState) equal(other lvolState) bool {
	return s.lvol == other.lvol && slices.Equal(s.view, other.view)
}

func (s lvolState) String() string {
	l := s.lvol
	return fmt.Sprintf("%s (on %q, %d clusters of its own, %d bytes, record %q, %v) reads %v", l.Name, l.Parent, l.Own.Count, l.Size, l.Record, l.Attributes.CreatedAt.Unix(), s.view)
}

// list lists the store.
func (s *target) list() domain.Listing {
	store, err := s.host.List(context.Background())
	if err != nil {
		fail("list %s: %v", s.name, err)
	}
	return store
}

// opened lists the resources that runs have opened.
func (s *target) opened() []ports.Opened {
	opened, err := s.host.Opened(context.Background())
	if err != nil {
		fail("list what is open on %s: %v", s.name, err)
	}
	return opened
}

// free does not use a port, which could be delayed.
func (s *target) free() uint64 { return memory.BlobstoreOf(s.host).Free() }

// capture records the state of all wanted lvols.
func (s *target) capture(wanted func(name string) bool) map[string]lvolState {
	all := make(map[string]lvolState)
	for _, l := range s.list().Lvols {
		if wanted(l.Name) {
			all[l.UUID] = lvolState{l, read(s.host, l)}
		}
	}
	return all
}

// find is the lvol of that name.
func (s *target) find(name string) (domain.Lvol, bool) {
	lvols := s.list().Lvols
	i := slices.IndexFunc(lvols, func(l domain.Lvol) bool { return l.Name == name })
	if i < 0 {
		return domain.Lvol{}, false
	}
	return lvols[i], true
}

// imageName is the name of the image's lvol here.
func (s *target) imageName(i *image) string { return domain.ImageLvolName(i.name, s.list().UUID) }

// isOf reports whether an lvol has a name of the replica.
func (r *replica) isOf(name string) bool {
	return name == r.name || strings.HasPrefix(name, r.prefix()) || r.fills(name) || name == r.name+"-rebuilding"
}

// fills reports whether an lvol has an in-flight name of the replica.
func (r *replica) fills(name string) bool {
	return isInFlight(name) && strings.TrimSuffix(withoutID(name), "-rebuilding") == r.name
}
