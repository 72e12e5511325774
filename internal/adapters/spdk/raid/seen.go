package raid

import (
	"context"
	"sync"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmf"
)

// seen are heads that were looked at before the freeze in which they join, by the NQN of
// their ways. Each serves one Join: if that has to be repeated, it looks again.
type seen struct {
	mu   sync.Mutex
	news map[string]*newcomer
}

// seeNew looks at a head once, if it is shown and can join.
func (m *Mirror) seeNew(ctx context.Context, w nvmf.Way) {
	m.seen.take(w.NQN)
	base, err := m.baseOf(ctx, w)
	if err != nil {
		return
	}
	n, err := m.lookAt(ctx, base)
	if err != nil || n.head == nil || n.check() != nil {
		return // Join looks again, and says what is wrong
	}
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	if m.seen.news == nil {
		m.seen.news = make(map[string]*newcomer)
	}
	m.seen.news[w.NQN] = n
}

// take returns what was seen, and forgets it; nil: nothing.
func (s *seen) take(nqn string) *newcomer {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.news[nqn]
	delete(s.news, nqn)
	return n
}
