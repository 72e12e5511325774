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

	// connection is that to the target. It breaks when the target ends, and the RAID with
	// it; then nobody knows what its next RAID has missed.
	connection uint64
}

// see notes a member that serves, and returns since when that is so; zero: not known.
func (h *heads) see(head, base string, connection uint64) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		h.seen = make(map[string]string)
	}
	h.seen[head] = base
	if it, is := h.joined[head]; is && it.connection == connection {
		return it.since
	}
	delete(h.joined, head)
	return time.Time{}
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
			it.since, it.connection = time.Time{}, 0
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

// leave forgets a member.
func (h *heads) leave(head string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seen, head)
	delete(h.joined, head)
}
