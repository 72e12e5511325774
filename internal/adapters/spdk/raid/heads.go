package raid

import (
	"sync"
	"time"
)

// heads is what this process knows of the members, by the UUID of the head.
type heads struct {
	mu     sync.Mutex
	seen   map[string]string // the name of the base, of every member that did not leave
	joined map[string]joined
	last   time.Time // of the latest join
}

// joined is a member that this process has added.
type joined struct {
	controller string // "": the lvol is on the mirror's target
	since      time.Time
	proof
}

// proof shows that a member has had every write since it joined, as long as the RAID lists
// it: the target has not ended since, since the RAID would have ended with it, and no I/O of
// its base has failed since. The RAID drops a base a while after that.
//
// The first is shown by the mark, or without one by the connection to the target, which
// breaks when the target ends.
type proof struct {
	mark       string // name of a bdev that holds nothing; "": none
	connection uint64
	failed     uint64 // I/Os of the base
}

// holds reports whether that is so, by what the target tells now.
func (p proof) holds(now proof) bool {
	if p.mark != "" {
		return p.mark == now.mark && p.failed == now.failed
	}
	return p.connection == now.connection && p.failed == now.failed
}

// see notes a member that serves, and returns since when that is so; zero: not known. now is
// what the target tells about it; nil: it was not asked, since the member has just joined.
func (h *heads) see(head, base string, now *proof) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		h.seen = make(map[string]string)
	}
	h.seen[head] = base
	it, is := h.joined[head]
	if is && now != nil && !it.holds(*now) {
		it.since = time.Time{}
		h.joined[head] = it
	}
	return it.since
}

// lost are the bases of members that were seen and are not among these, by head. They have
// missed writes, even if they come back.
func (h *heads) lost(serving map[string]bool) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := make(map[string]string)
	for head, base := range h.seen {
		if !serving[head] {
			lost[head] = base
			it := h.joined[head]
			it.since = time.Time{}
			h.keepLocked(head, it)
		}
	}
	return lost
}

// join notes a member that was added now.
func (h *heads) join(head, base string, it joined) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	it.since = time.Now()
	if !it.since.After(h.last) {
		it.since = h.last.Add(1)
	}
	h.last = it.since
	if h.seen == nil {
		h.seen = make(map[string]string)
	}
	h.seen[head] = base
	h.keepLocked(head, it)
	return it.since
}

func (h *heads) keepLocked(head string, it joined) {
	if h.joined == nil {
		h.joined = make(map[string]joined)
	}
	h.joined[head] = it
}

// controller is that of a member that this process has added; "": not known.
func (h *heads) controller(head string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.joined[head].controller
}

// added are the members that this process has added and that were seen last, by head, with
// their bases.
func (h *heads) added() (proofs map[string]proof, bases map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	proofs, bases = make(map[string]proof), make(map[string]string)
	for head, it := range h.joined {
		proofs[head], bases[head] = it.proof, h.seen[head]
	}
	return proofs, bases
}

// unmark has the connection prove from now on what the mark did.
func (h *heads) unmark(mark string, connection uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for head, it := range h.joined {
		if it.mark == mark {
			it.mark, it.connection = "", connection
			h.joined[head] = it
		}
	}
}

// leave forgets a member.
func (h *heads) leave(head string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seen, head)
	delete(h.joined, head)
}
