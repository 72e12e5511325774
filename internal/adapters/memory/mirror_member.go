package memory

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var errLeft = errors.New("it was removed from the mirror")

// member is a head in a mirror, guarded by the mirror's mutex.
type member struct {
	host   *Host
	uuid   string
	named  atomic.Pointer[string]
	way    *way   // nil: it was there from the beginning
	starts uint64 // of the host, when it joined

	since     time.Time
	failing   time.Time     // since when accesses fail; zero: they work
	unreached time.Time     // since when Volume does not reach it; zero: it does
	lost      error         // why; nil: it is not
	over      chan struct{} // closed when it was dropped or removed
}

// name is that of the head, with that of its host.
func (it *member) name() string { return *it.named.Load() }

func (it *member) listed() domain.Member {
	listed := domain.Member{Head: it.uuid, Name: it.name(), Mode: domain.ModeRW, Since: it.since}
	if it.lost != nil {
		listed.Mode, listed.Reason = domain.ModeERR, it.lost.Error()
	}
	return listed
}

// learnName notices that the lvol was renamed.
func (it *member) learnName() {
	if _, name, err := it.host.headOf(it.uuid); err == nil {
		it.named.Store(&name)
	}
}

// reach returns an error if the mirror does not reach the head.
func (it *member) reach() error {
	switch {
	case it.host.starts.Load() != it.starts || it.way != nil && it.way.closed.Load():
		return fmt.Errorf("%w: %s is not exported any more", ports.ErrUnavailable, it.name())
	case !it.host.reachable():
		return fmt.Errorf("%w: %s cannot be reached", ports.ErrUnavailable, it.name())
	}
	return nil
}

// end ends the use of the member.
func (it *member) end(reason error) {
	if it.lost == nil {
		it.lost = reason
		close(it.over)
	}
}

// working is the number of members that are not lost.
func (m *Mirror) working() int {
	n := 0
	for _, it := range m.members {
		if it.lost == nil {
			n++
		}
	}
	return n
}

// since is the time that has passed since begun, which is set if it is zero.
func since(begun *time.Time) time.Duration {
	now := time.Now()
	if begun.IsZero() {
		*begun = now
	}
	return now.Sub(*begun)
}

// drop drops a member, unless it is the last.
func (m *Mirror) drop(it *member, reason error) {
	if m.working() > 1 {
		it.end(reason)
	}
}
