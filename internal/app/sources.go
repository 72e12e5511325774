package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
)

// sources are the sources of a run, in the order given. A rebuild with several sources
// survives the failure of each (longhorn/longhorn#11331). A call to a source's host that
// finally fails is a SourceError: the source is lost for this run. Another one takes over
// its copies at once; everything else needs a new plan.
type sources struct {
	sites []site

	mu           sync.Mutex
	state        []sourceState // of each site
	lossWarnings []string      // of lost sources, and of other failures of sources
}

type sourceState struct {
	lvstore   string         // its name; "": not listed yet
	firstHead string         // UUID; "": not listed yet
	lastSeen  domain.Replica // without a name: not listed yet
	accepted  bool           // as a primary that passed checkPrimary
	lost      error          // nil: in use
	use       context.Context
	endUse    context.CancelCauseFunc
	served    []served
}

// several is false if the failure of a source is the failure of the rebuild.
func (s *sources) several() bool { return len(s.sites) > 1 }

func (s *sources) host(at int) *guard.Host { return s.sites[at].Host }

func (s *sources) setLvstore(at int, store domain.Listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state[at].lvstore = store.Name
}

func (s *sources) setReplica(at int, replica domain.Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state[at].lastSeen = replica
}

// others are the other sources as last listed, including passed over and lost ones: data
// that only they have is missing in the rebuilt replica.
func (s *sources) others(primary int) (others []domain.Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, of := range s.state {
		if at != primary && of.lastSeen.Name != "" {
			others = append(others, of.lastSeen)
		}
	}
	return others
}

// checkPrimary compares a primary with the other sources. It does not refuse one that
// passed before: a user has deleted what it lacks now.
func (s *sources) checkPrimary(r request, at int, primary domain.Replica) (warnings []string, err error) {
	others := s.others(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	warnings, err = domain.CheckPrimary(primary, others, r.RightSource != "" || s.state[at].accepted)
	s.state[at].accepted = s.state[at].accepted || err == nil
	return warnings, err
}

// lvstore is the name of a source's lvstore; "": not listed yet.
func (s *sources) lvstore(at int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[at].lvstore
}

// name is the name of a source in texts.
func (s *sources) name(at int) string {
	if lvstore := s.lvstore(at); lvstore != "" {
		return fmt.Sprintf("%s on lvstore %s", s.sites[at].Replica, lvstore)
	}
	return s.sites[at].Replica
}

// seen are the names of the sources whose host has answered.
func (s *sources) seen() (names []string) {
	for at := range s.sites {
		if s.lvstore(at) != "" {
			names = append(names, s.name(at))
		}
	}
	return names
}

func (s *sources) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lossWarnings = append(s.lossWarnings, text)
}

// firstHead is the UUID of the source's head; "": not listed yet.
func (s *sources) firstHead(at int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[at].firstHead
}

// lostReason is nil for a source in use.
func (s *sources) lostReason(at int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state[at].lost
}

// used are the positions of the sources in use.
func (s *sources) used() (positions []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.sites {
		if s.state[at].lost == nil {
			positions = append(positions, at)
		}
	}
	return positions
}

// checkNew refuses the name of a snapshot that no snapshot can have, or one has already.
func (s *sources) checkNew(at int, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.state[at].lastSeen.Snapshot(name); taken {
		return fmt.Errorf("replica %s had that snapshot before", s.sites[at].Replica)
	}
	return domain.CheckSnapshotName(name)
}

// lose ends the use of a source and all copies that it serves. first is false if it is
// lost already. text is the warning.
func (s *sources) lose(at int, why error, text string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state[at].lost != nil {
		return false
	}
	s.state[at].lost, s.lossWarnings = why, append(s.lossWarnings, text)
	s.state[at].endUse(why)
	return true
}

// lose loses a source and reports it.
func (r *rebuild) lose(at int, why error) {
	text := fmt.Sprintf("source %s is no longer used: %s", r.sources.name(at), inOneLine(why))
	if !r.sources.lose(at, why, text) {
		return
	}
	r.engine.log.Warn(text, zap.String("replica", r.run.Replica), zap.String("run", r.run.ID))
	r.progress.lostSource(r.sources.name(at), text)
}

// dropSource loses the source that caused a failure, if there are others, and asks for a
// new plan.
func (r *rebuild) dropSource(ctx context.Context, failure error) error {
	var of *executor.SourceError
	if failure == nil || ctx.Err() != nil || errors.Is(failure, executor.ErrPlanAgain) || !errors.As(failure, &of) {
		return failure
	}
	if others := slices.DeleteFunc(r.sources.used(), func(at int) bool { return at == of.Source }); len(others) == 0 {
		return failure
	}
	r.lose(of.Source, failure)
	if errors.Is(failure, errNotCut) {
		return failure // nothing of this cut is used again
	}
	return fmt.Errorf("%w: source %s is no longer used", executor.ErrPlanAgain, r.sources.name(of.Source))
}

func newSources(r request) *sources {
	sites := r.sources()
	s := &sources{sites: sites, state: make([]sourceState, len(sites))}
	for i := range sites {
		of := &s.state[i]
		of.use, of.endUse = context.WithCancelCause(context.Background())
		sites[i].Host = sites[i].Host.While(of.use)
	}
	return s
}
