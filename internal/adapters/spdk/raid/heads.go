package raid

import (
	"sync"
	"time"
)

// heads is what this process knows of the members, by the UUID of the head.
type heads struct {
	mu     sync.Mutex
	seen   map[string]*known // every member that did not leave
	joined map[string]joined
	last   time.Time // of the latest join
}

// known is a member as it was seen last.
type known struct {
	base    string // its name
	counted bool
	failed  uint64    // I/Os of the base; only if counted
	grew    time.Time // when that was seen to have grown, or first seen not to be zero
}

// dropsIn is how long a RAID may take to drop a base after an I/O to it has failed. It does not
// drop one that has failed to read and then took the bytes of another base. The count of a base
// does not tell which of both it was; that it is still there after that time does.
const dropsIn = 30 * time.Second

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
// what the target tells about it; nil: it was not asked, since it has just joined or was not
// seen before. doubted: an I/O to it has failed so lately that the RAID may be about to drop it.
func (h *heads) see(head, base string, now *proof) (since time.Time, doubted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seenLocked(head, base)
	it, is := h.joined[head]
	if is && now != nil && !it.holds(*now) {
		it.since = time.Time{}
		h.joined[head] = it
	}
	if now != nil && seen.counted && now.failed > seen.failed {
		seen.failed, seen.grew = now.failed, time.Now()
	}
	if is && !it.since.IsZero() {
		return it.since, false
	}
	return seen.grew, time.Since(seen.grew) < dropsIn
}

func (h *heads) seenLocked(head, base string) *known {
	if h.seen == nil {
		h.seen = make(map[string]*known)
	}
	it := h.seen[head]
	if it == nil || it.base != base {
		it = &known{base: base}
		h.seen[head] = it
	}
	return it
}

// count notes how many I/Os of a base have failed when it was seen first. If any has, nobody
// knows when.
func (h *heads) count(head, base string, failed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	it := h.seenLocked(head, base)
	it.counted, it.failed = true, failed
	if failed > 0 {
		it.grew = time.Now()
	}
}

func (h *heads) isCounted(head string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	it := h.seen[head]
	return it != nil && it.counted
}

// fails reports whether an I/O to a base has failed lately, so that the RAID may be about to
// drop it.
func (h *heads) fails(head string, now *proof) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	it := h.seen[head]
	if it == nil || now == nil || !it.counted {
		return false
	}
	return now.failed > it.failed || time.Since(it.grew) < dropsIn
}

// lost are the bases of members that were seen and are not among these, by head. They have
// missed writes, even if they come back.
func (h *heads) lost(serving map[string]bool) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := make(map[string]string)
	for head, seen := range h.seen {
		if !serving[head] {
			lost[head] = seen.base
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
	seen := h.seenLocked(head, base)
	seen.counted, seen.failed = true, it.failed
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

// all are the members that were seen, by head, with their bases. Those that this process has
// not added have no mark.
func (h *heads) all() (proofs map[string]proof, bases map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	proofs, bases = make(map[string]proof), make(map[string]string)
	for head, it := range h.seen {
		proofs[head], bases[head] = h.joined[head].proof, it.base
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
