package executor

import (
	"sync"

	"github.com/rootgraft/rebuild/internal/domain"
)

// model is a domain.StoreModel of the store. An operation that it refuses, such as a graft
// that would make a cycle, is never sent to the store.
type model struct {
	source domain.Listing

	mu     sync.Mutex
	store  *domain.StoreModel
	played map[operationKey]bool
}

// operationKey identifies an operation of a plan.
type operationKey struct {
	stage  domain.Stage
	verb   domain.Verb
	target domain.Ref
}

func newModel(c Config) *model {
	p := &model{store: domain.NewStoreModel(c.Listing, c.Run.Replica), played: make(map[operationKey]bool)}
	if len(c.Sources) > 0 {
		p.source = c.Sources[c.Primary].Listing
	}
	return p
}

// play applies an operation once; a retry has been applied already.
func (p *model) play(o domain.Operation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	this := operationKey{o.Stage, o.Verb, o.Target}
	if p.played[this] {
		return nil
	}
	err := p.store.Apply(p.source, o)
	p.played[this] = err == nil
	return err
}
