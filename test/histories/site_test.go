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

// site is a target with a store, and what happens to it.
type site struct {
	world *world
	name  string
	host  *memory.Host

	foreign map[string]shot // by UUID: what is nobody's of ours
	untidy  bool            // something may be in flight that no replica's name tells, or open

	// Calls may have taken effect here that nobody waited for any more: a graft, say,
	// while its lvol was deleted, which hides it until a restart.
	late bool

	mu      sync.Mutex
	calls   int
	hangAt  int // at which call it hangs; 0: at none
	hangFor time.Duration
	begins  chan struct{} // closed when it begins to hang
	resumes chan struct{} // closed when it goes on; nil: it does not hang

	restartAt int // at which call of its store it restarts; 0: at none
	asked     int
	downFor   time.Duration
	downUntil time.Time
	seen      map[string]int // calls by what they are, since the step began
}

// storeClusters are more than a history needs.
const storeClusters = 2000

func (w *world) newSite(fabric *memory.Fabric, config memory.Config) *site {
	config.ClusterSize, config.BlockSize, config.TotalClusters, config.Seed = clusterSize, clusterSize, storeClusters, w.seed+1
	s := &site{world: w, name: config.Name, host: fabric.NewHost(config), begins: make(chan struct{}), seen: make(map[string]int)}
	s.host.Inject(s.fate)
	return s
}

// hold keeps a call until the target goes on. What was asked of one that hangs is
// done when it goes on, whoever still waits for it.
func (s *site) hold() {
	s.mu.Lock()
	s.calls++
	if s.calls == s.hangAt && s.resumes == nil {
		s.resumes = make(chan struct{})
		close(s.begins)
		s.world.note("%s hangs for %v", s.name, s.hangFor)
		time.AfterFunc(s.hangFor, s.resume)
	}
	resumes := s.resumes
	s.mu.Unlock()
	if resumes != nil {
		<-resumes
	}
}

func (s *site) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resumes != nil {
		close(s.resumes)
		s.resumes, s.begins = nil, make(chan struct{})
		s.world.note("%s goes on", s.name)
	}
}

func (s *site) isHanging() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumes != nil
}

// hangs is closed when it begins to hang; nil where nobody wants to know.
func (s *site) hangs(wanted bool) <-chan struct{} {
	if !wanted {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begins
}

func (s *site) hangSoon(calls int, duration time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangAt, s.hangFor = s.calls+calls, duration
}

func (s *site) restartSoon(calls int, down time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restartAt, s.downFor = s.asked+calls, down
}

// calmDown disarms what was to happen.
func (s *site) calmDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangAt, s.restartAt, s.downUntil = 0, 0, time.Time{}
	clear(s.seen)
}

// fate decides what happens to a call of the store. It depends on the seed, the
// step and the call alone, not on the order in which goroutines come.
func (s *site) fate(c memory.Call) memory.Fault {
	w := s.world
	if w.calm.Load() {
		return memory.Fault{}
	}
	s.mu.Lock()
	s.asked++
	restart := s.asked == s.restartAt
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
		w.note("%s restarts at %s %s and is away for %v", s.name, c.Method, c.Name, s.downFor)
		return memory.Fault{Before: errDown}
	}
	if down {
		return memory.Fault{Before: errDown}
	}
	drawn := fnv.New64a()
	fmt.Fprintf(drawn, "%d %s", w.step, what)
	dice := mixed(drawn.Sum64())
	f := s.delayed(c, dice)
	if int64(dice>>40&0xffff)%100 < w.faults.Load() {
		s.spoil(c, &f, dice>>56)
	}
	w.note("%s %s %s%s", s.name, c.Method, c.Name, tell(f))
	return f
}

var errDown = fmt.Errorf("%w: the target is down", ports.ErrUnavailable)

// delayed spreads calls over time, so that they overlap. None but a copy takes as
// long as a change is waited for, or it would be one that hangs.
func (s *site) delayed(c memory.Call, dice uint64) memory.Fault {
	jitter := time.Duration(dice>>8&0xff) * time.Nanosecond
	switch {
	case c.Method == "copy":
		return memory.Fault{Delay: jitter + units(dice, []int{1, 10, 200, 2000}[dice&3])}
	case dice&3 == 0:
		return memory.Fault{Delay: jitter + units(dice, []int{1, 1, 10, 150}[dice>>2&3])}
	}
	return memory.Fault{}
}

// units are so many times what the dice say, up to 4 ms.
func units(dice uint64, times int) time.Duration {
	return time.Duration(int(dice>>16&0xfff)*times) * time.Microsecond
}

// spoil has the call fail for a passing reason.
func (s *site) spoil(c memory.Call, f *memory.Fault, dice uint64) {
	switch dice & 3 {
	case 0, 1:
		f.Before = ports.ErrUnavailable
		f.AfterClusters = dice >> 4 & 3
	case 2:
		f.After = ports.ErrUnavailable
		if c.Method == "open" {
			// It is several calls of a target, which the adapter takes back.
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

// mixed spreads a hash over all bits.
func mixed(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// Names in flight end in digits that are new in every run.
var id = regexp.MustCompile(`-rebuilding-[0-9a-f]{8}$`)

func withoutID(name string) string { return id.ReplaceAllString(name, "-rebuilding") }

func isInFlight(name string) bool { return id.MatchString(name) }

func isImageInFlight(name string) bool {
	return isInFlight(name) && strings.HasPrefix(name, "bi-rebuilding-")
}

// shot is all that can be seen of an lvol.
type shot struct {
	lvol domain.Lvol
	view view
}

func (s shot) equal(other shot) bool {
	return s.lvol == other.lvol && slices.Equal(s.view, other.view)
}

func (s shot) String() string {
	l := s.lvol
	return fmt.Sprintf("%s (on %q, %d clusters of its own, %d bytes, record %q, %v) reads %v", l.Name, l.Parent, l.Own.Count, l.Size, l.Record, l.Attributes.CreatedAt.Unix(), s.view)
}

// list is what is on the store now.
func (s *site) list() domain.Listing {
	store, err := s.host.List(context.Background())
	if err != nil {
		fail("list %s: %v", s.name, err)
	}
	return store
}

// opened is what runs have opened.
func (s *site) opened() []ports.Opened {
	opened, err := s.host.Opened(context.Background())
	if err != nil {
		fail("list what is open on %s: %v", s.name, err)
	}
	return opened
}

// free asks nothing that could be delayed.
func (s *site) free() uint64 { return memory.BlobstoreOf(s.host).Free() }

// photograph takes all that is on it.
func (s *site) photograph(wanted func(name string) bool) map[string]shot {
	all := make(map[string]shot)
	for _, l := range s.list().Lvols {
		if wanted(l.Name) {
			all[l.UUID] = shot{l, read(s.host, l)}
		}
	}
	return all
}

// find is the lvol of that name.
func (s *site) find(name string) (domain.Lvol, bool) {
	lvols := s.list().Lvols
	i := slices.IndexFunc(lvols, func(l domain.Lvol) bool { return l.Name == name })
	if i < 0 {
		return domain.Lvol{}, false
	}
	return lvols[i], true
}

// imageName is what the image is called here.
func (s *site) imageName(i *image) string { return domain.ImageLvolName(i.name, s.list().UUID) }

// isOf reports whether an lvol is called as one of the replica is.
func (r *replica) isOf(name string) bool {
	return name == r.name || strings.HasPrefix(name, r.prefix()) || r.fills(name) || name == r.name+"-rebuilding"
}

// fills reports whether an lvol is called as what is in flight for the replica.
func (r *replica) fills(name string) bool {
	return isInFlight(name) && strings.TrimSuffix(withoutID(name), "-rebuilding") == r.name
}
