package app_test

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
)

// rule says what happens to some calls of a host:
//
//	inject(host, on("copy").of(lvol).nth(3).fails(ports.ErrInvalid))
//	inject(host, on("seal").does(cancel), on("copy").takes(time.Second))
type rule struct {
	method      string // "": all
	conditions  []func(memory.Call) bool
	first, last int // of the calls that meet these, from 1 on; last 0: all that follow
	do          []func(memory.Call)
	fault       *memory.Fault

	mu        sync.Mutex
	seen      int
	applied   string         // the method and the name of the last call that it was applied to
	snapshots map[string]int // by name, without the replica's; "" is for other lvols
}

// inject replaces what happens to the calls of a host. All rules for a call do what they
// do, and the first of them that has a fault decides on that.
func inject(host *memory.Host, rules ...*rule) {
	host.Inject(func(c memory.Call) (f memory.Fault) {
		decided := false
		for _, r := range rules {
			if !r.applies(c) {
				continue
			}
			for _, do := range r.do {
				do(c)
			}
			if r.fault != nil && !decided {
				f, decided = *r.fault, true
			}
		}
		return f
	})
}

// on is for the calls of a method, or for all calls if it is "".
func on(method string) *rule {
	return &rule{method: method, first: 1, snapshots: make(map[string]int)}
}

// where adds a condition.
func (r *rule) where(condition func(memory.Call) bool) *rule {
	r.conditions = append(r.conditions, condition)
	return r
}

// of is for lvols of that name, whole or after "-snap-".
func (r *rule) of(name string) *rule {
	return r.where(func(c memory.Call) bool { return c.Name == name || strings.HasSuffix(c.Name, "-snap-"+name) })
}

// ofImages is for lvols whose names are those of images.
func (r *rule) ofImages() *rule {
	return r.where(func(c memory.Call) bool { return strings.HasPrefix(c.Name, "bi-") })
}

// ofUUID is for the lvol with that UUID.
func (r *rule) ofUUID(uuid string) *rule {
	return r.where(func(c memory.Call) bool { return c.UUID == uuid })
}

// nth is for the n-th such call alone, from 1 on.
func (r *rule) nth(n int) *rule { r.first, r.last = n, n; return r }

// once is for the first such call alone.
func (r *rule) once() *rule { return r.nth(1) }

// from is for the n-th such call and all later ones.
func (r *rule) from(n int) *rule { r.first, r.last = n, 0; return r }

// upTo is for the first n such calls.
func (r *rule) upTo(n int) *rule { r.first, r.last = 1, n; return r }

// between is for the n-th to the m-th such call.
func (r *rule) between(n, m int) *rule { r.first, r.last = n, m; return r }

// after is for calls from the first one on that meets the conditions of another rule.
func (r *rule) after(other *rule) *rule {
	return r.where(func(memory.Call) bool { return other.calls() > 0 })
}

// does calls do before the call is carried out.
func (r *rule) does(do func()) *rule { return r.doesTo(func(memory.Call) { do() }) }

func (r *rule) doesTo(do func(memory.Call)) *rule { r.do = append(r.do, do); return r }

func (r *rule) gets(fault memory.Fault) *rule { r.fault = &fault; return r }

// fails has the call do nothing.
func (r *rule) fails(err error) *rule { return r.gets(memory.Fault{Before: err}) }

// answers has the call's answer lost.
func (r *rule) answers(err error) *rule { return r.gets(memory.Fault{After: err}) }

func (r *rule) takes(time time.Duration) *rule { return r.gets(memory.Fault{Delay: time}) }

// calls is how many calls there were that meet the conditions.
func (r *rule) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// bySnapshot is how many of them were for each snapshot; "" stands for all other lvols.
func (r *rule) bySnapshot() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.snapshots)
}

func (r *rule) applies(c memory.Call) bool {
	if r.method != "" && r.method != c.Method {
		return false
	}
	for _, condition := range r.conditions {
		if !condition(c) {
			return false
		}
	}
	r.mu.Lock() // do may make such a call itself, which counts
	defer r.mu.Unlock()
	r.seen++
	_, snapshot, _ := strings.Cut(c.Name, "-snap-")
	r.snapshots[snapshot]++
	applies := r.seen >= r.first && (r.last == 0 || r.seen <= r.last)
	if applies {
		r.applied = c.Method + " " + c.Name
	}
	return applies
}
