package app

import (
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
)

// sourceChanged is the error if the head of a source is another lvol than at the start.
// Snapshots come and go while a volume is a source; then the rebuild plans again. But
// another head means that somebody has reverted, deleted or rebuilt the source replica:
// its data is no longer the data that was to be copied (longhorn/longhorn#9191, #1895,
// #3086).
type sourceChanged struct{ replica, store, was, is string }

func (e *sourceChanged) Error() string {
	now := "it is gone"
	if e.is != "" {
		now = "it is lvol " + e.is
	}
	return fmt.Sprintf("source replica %s on lvstore %s was replaced, reverted or deleted during the rebuild: its head was lvol %s, now %s; check the replica, then rebuild again",
		e.replica, e.store, e.was, now)
}

// checkSameHead compares a source's head with the first one observed.
func (s *sources) checkSameHead(at int, seen domain.Replica) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := ""
	if seen.Head != nil {
		head = seen.Head.UUID
	}
	if s.state[at].firstHead == "" {
		s.state[at].firstHead = head
	}
	if was := s.state[at].firstHead; was != head {
		return &sourceChanged{replica: seen.Name, store: seen.Store.Name, was: was, is: head}
	}
	return nil
}
