package app_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
)

// faultPoint is one call that a rebuild makes: the n-th of its method on a side.
type faultPoint struct {
	side   string // source or destination
	method string
	n      int // from 1

	own, clusters int  // of the snapshot that is copied: its own clusters, and how many it is long
	image         bool // it is the image that is copied
}

func (p faultPoint) String() string { return fmt.Sprintf("%s %s %d", p.side, p.method, p.n) }

// injection is a fault at a point. One that lasts befalls every later call of the
// same method on the same side, too; the death of a target that lasts, every
// later call on that side.
type injection struct {
	faultPoint
	kind  faultKind
	lasts bool
	after int // calls after the strike before it in the same run; then the point is not told
}

func (s injection) String() string {
	what := s.kind.name
	if s.lasts {
		what += " lasting"
	}
	if s.after > 0 {
		return fmt.Sprintf("+%d %s", s.after, what)
	}
	return s.faultPoint.String() + " " + what
}

// parseInjections reads what String writes of several, with "; " between them.
func parseInjections(text string) (all []injection, err error) {
	for one := range strings.SplitSeq(text, "; ") {
		words := strings.Fields(one)
		var s injection
		if n := len(words); n > 0 && words[n-1] == "lasting" {
			s.lasts, words = true, words[:n-1]
		}
		switch {
		case len(words) == 4:
			s.side, s.method = words[0], words[1]
			s.n, err = strconv.Atoi(words[2])
		case len(words) == 2 && words[0][0] == '+':
			s.after, err = strconv.Atoi(words[0][1:])
		default:
			err = fmt.Errorf("%q: expected SIDE CALL N KIND [lasting], or +N KIND [lasting]", one)
		}
		if err != nil {
			return nil, err
		}
		kind, known := kindNamed(words[len(words)-1])
		if !known {
			return nil, fmt.Errorf("%q: no kind of fault is called so", words[len(words)-1])
		}
		s.kind = kind
		all = append(all, s)
	}
	return all, nil
}

// injector stands between an engine and two hosts: it notes the calls of a run,
// and has faults befall them.
type injector struct {
	hosts map[string]*memory.Host
	give  context.CancelFunc // has the caller give up

	callTakes time.Duration // that nothing befalls

	mu         sync.Mutex
	calls      map[string]int // by side and method
	made       []faultPoint
	injections []injection // that are still to come, in their order
	going      []injection // that last
	struck     []injection // with the points where they did
	spoilt     []string    // what was copied otherwise than it is, by its name on the source
	since      int         // calls since the last one
	died       bool        // the engine
	again      []string    // why it was planned again
}

// Observe takes up why a rebuild is planned again, beside the source's frozen head.
func (s *injector) Observe(e app.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == app.EventAgain && !strings.Contains(e.Text, "system snapshot") {
		s.again = append(s.again, e.Text)
	}
}

func newInjector(b *fixture, give context.CancelFunc, injections ...injection) *injector {
	s := &injector{
		hosts: map[string]*memory.Host{"source": b.source, "destination": b.destination},
		give:  give, calls: make(map[string]int), injections: injections,
	}
	for side, host := range s.hosts {
		host.Inject(func(c memory.Call) memory.Fault { return s.ask(side, host, c) })
	}
	return s
}

// leave ends it.
func (s *injector) leave() {
	for _, host := range s.hosts {
		host.Inject(nil)
	}
}

func (s *injector) ask(side string, host *memory.Host, c memory.Call) memory.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.died {
		return memory.Fault{Before: errEngineDied}
	}
	key := side + " " + c.Method
	s.calls[key]++
	p := faultPoint{side: side, method: c.Method, n: s.calls[key]}
	if c.Method == "copy" {
		below := memory.BlobstoreOf(host)
		p.image = strings.HasPrefix(c.Name, "bi-")
		p.own, p.clusters = len(below.Clusters(c.UUID).Positions), int(below.Look(c.UUID).Size/cluster)
	}
	k, first := s.meet(p)
	if k != nil && k.spoils {
		s.spoilt = append(s.spoilt, c.Name)
	}
	switch {
	case k == nil:
		return memory.Fault{Delay: s.callTakes}
	case first && k.ends == endCaller:
		s.give()
	case first && k.ends == endEngine:
		s.died = true
		for _, host := range s.hosts {
			host.Orphan()
		}
	case !first && k.ends == endTarget:
		return memory.Fault{Before: errTargetDown}
	}
	return k.fault
}

// meet notes a call, and says what befalls it: a fault that strikes there, for the
// first time or still; nil: nothing.
func (s *injector) meet(p faultPoint) (k *faultKind, first bool) {
	s.made = append(s.made, p)
	s.since++
	if len(s.injections) > 0 && s.injections[0].isAt(p, s.since) && s.injections[0].kind.canBefall(p) {
		next := s.injections[0]
		s.injections = s.injections[1:]
		next.faultPoint = p
		s.since = 0
		s.struck = append(s.struck, next)
		if next.lasts {
			s.going = append(s.going, next)
		}
		return &next.kind, true
	}
	for _, g := range s.going {
		if g.side == p.side && (g.kind.ends == endTarget || g.method == p.method && g.kind.canBefall(p)) {
			return &g.kind, false
		}
	}
	return nil, false
}

// isAt reports whether the call is the one that is meant. Which copy is the n-th is
// not the same each time where they go on at once: a fault that cannot befall this one
// waits for another.
func (s injection) isAt(p faultPoint, since int) bool {
	if s.after > 0 {
		return since >= s.after
	}
	return s.side == p.side && s.method == p.method && (s.n == p.n || s.kind.copies && p.n > s.n)
}

// runWithFaults is a rebuild that the faults befall.
func runWithFaults(b *fixture, request app.Request, injections ...injection) (*injector, app.Report, error) {
	ctx, give := cancelling()
	defer give()
	s := newInjector(b, give, injections...)
	if request.Parallel > 1 {
		s.callTakes = 10 * time.Millisecond // so that calls meet
	}
	defer s.leave()
	request.Observer = s
	report, err := app.New(nil).Rebuild(ctx, request)
	return s, report, err
}

// faultPoints are the calls of a rebuild that nothing befalls.
func faultPoints(t tester, p trial) []faultPoint {
	b, request := p.build(t)
	s, _, err := runWithFaults(b, request)
	require.NoError(t, err)
	requireEqualViews(t, b, sourceName, copyName, p.world.image > 0)
	return s.made
}

func (v verification) of(request app.Request) app.Request {
	request.Proof, request.Views = v == verifyProof, v == verifyViews
	return request
}
