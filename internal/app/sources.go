package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
)

// A rebuild with several sources outlives each of them (longhorn/longhorn#11331).
// What is asked of one and fails for good is a sourceError; the source is not
// used any more in this run, and what it was to serve goes to the others, at once
// where that is a copy, else by a new plan.

// sources are the sources of a run, in the order given. A rebuild with several sources
// survives the failure of each (longhorn/longhorn#11331). A call to a source's host that
// finally fails is a SourceError: the source is lost for this run. Another one takes over
// its copies at once; everything else needs a new plan.
type sources struct {
	sites []site

	mu         sync.Mutex
	lvstores   []string         // names; "": not listed yet
	firstHeads []string         // UUIDs; "": not listed yet
	lastSeen   []domain.Replica // without a name: not listed yet
	accepted   map[int]bool     // by position: primaries that passed checkPrimary
	lost       []error          // by position; nil: in use
	uses       []context.Context
	endUse     []context.CancelCauseFunc

	lossWarnings []string // of lost sources, and of other failures of sources
	served       [][]served
}

// served is one copy that a source has served.
type served struct {
	snapshot string // "": the image
	bytes    uint64
}

func newSources(r request) *sources {
	sites := r.sources()
	s := &sources{
		sites: sites, lvstores: make([]string, len(sites)), firstHeads: make([]string, len(sites)), lastSeen: make([]domain.Replica, len(sites)), accepted: make(map[int]bool), lost: make([]error, len(sites)),
		uses: make([]context.Context, len(sites)), endUse: make([]context.CancelCauseFunc, len(sites)),
		served: make([][]served, len(sites)),
	}
	for i := range sites {
		s.uses[i], s.endUse[i] = context.WithCancelCause(context.Background())
		if s.several() {
			s.sites[i].Host = s.sites[i].Host.While(s.uses[i])
		}
	}
	return s
}

// sources are all sources of the request, the preferred one first.
func (r Request) sources() []Site {
	return append([]Site{r.Source}, r.MoreSources...)
}

func (r request) sources() []site {
	return append([]site{r.Source}, r.MoreSources...)
}

// several is false if the failure of a source is the failure of the rebuild.
func (s *sources) several() bool { return len(s.sites) > 1 }

func (s *sources) host(at int) *guard.Host { return s.sites[at].Host }

func (s *sources) setLvstore(at int, store domain.Listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lvstores[at] = store.Name
}

func (s *sources) setReplica(at int, replica domain.Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastSeen[at] = replica
}

// others are the other sources as last listed, including passed over and lost ones: data
// that only they have is missing in the rebuilt replica.
func (s *sources) others(primary int) (others []domain.Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, replica := range s.lastSeen {
		if at != primary && replica.Name != "" {
			others = append(others, replica)
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
	warnings, err = domain.CheckPrimary(primary, others, r.RightSource != "" || s.accepted[at])
	s.accepted[at] = s.accepted[at] || err == nil
	return warnings, err
}

// name is the name of a source in texts.
func (s *sources) name(at int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lvstores[at] == "" {
		return s.sites[at].Replica
	}
	return fmt.Sprintf("%s on lvstore %s", s.sites[at].Replica, s.lvstores[at])
}

// seen are the names of the sources whose host has answered.
func (s *sources) seen() (names []string) {
	for at := range s.sites {
		s.mu.Lock()
		known := s.lvstores[at] != ""
		s.mu.Unlock()
		if known {
			names = append(names, s.name(at))
		}
	}
	return names
}

// warnings are those about sources that are not used.
func (s *sources) warnings(passedOver []error) (warnings []string) {
	for _, flaw := range passedOver {
		if flaw != nil {
			warnings = append(warnings, "a source is passed over: "+inOneLine(flaw))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(warnings, s.lossWarnings...)
}

func (s *sources) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lossWarnings = append(s.lossWarnings, text)
}

func (s *sources) addServed(at int, copied served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[at] = append(s.served[at], copied)
}

// reportSources adds the parts of several sources to the report.
func (r *rebuild) reportSources() {
	if !r.sources.several() {
		return
	}
	passedOver := make([]error, len(r.sources.sites))
	copy(passedOver, r.passedOver)
	for at := range passedOver {
		if r.sources.lostReason(at) != nil {
			passedOver[at] = nil
		}
	}
	r.report.Warnings = slices.Concat(r.sources.warnings(passedOver), r.secondaryWarnings, r.report.Warnings)
	r.sources.mu.Lock()
	defer r.sources.mu.Unlock()
	for at, site := range r.sources.sites {
		told := SourceReport{Replica: site.Replica, Lvstore: r.sources.lvstores[at], State: SourceSecondary}
		switch lost := r.sources.lost[at]; {
		case lost != nil:
			told.State, told.Reason = SourceLost, inOneLine(lost)
		case passedOver[at] != nil:
			told.State, told.Reason = SourcePassedOver, inOneLine(passedOver[at])
		case at == r.primary:
			told.State = SourcePrimary
		}
		for _, one := range r.sources.served[at] {
			told.Snapshots = append(told.Snapshots, one.snapshot)
			told.CopiedBytes += one.bytes
		}
		r.report.Sources = append(r.report.Sources, told)
	}
}

// lostReason is nil for a source in use.
func (s *sources) lostReason(at int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[at]
}

// used are the positions of the sources in use.
func (s *sources) used() (positions []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.sites {
		if s.lost[at] == nil {
			positions = append(positions, at)
		}
	}
	return positions
}

// lose ends the use of a source and all copies that it serves. first is false if it is
// lost already. text is the warning.
func (s *sources) lose(at int, why error, text string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost[at] != nil {
		return false
	}
	s.lost[at], s.lossWarnings = why, append(s.lossWarnings, text)
	s.endUse[at](why)
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
	return fmt.Errorf("%w: source %s is no longer used", executor.ErrPlanAgain, r.sources.name(of.Source))
}

// noUsableSource is the error if none of several sources can be used.
type noUsableSource struct {
	text   string
	flaws  []error // by position
	causes []error // flaws that are no refusals
}

func (e *noUsableSource) Error() string   { return e.text }
func (e *noUsableSource) Unwrap() []error { return e.causes }

// Is makes it an ErrRefused if every flaw is a refusal.
func (e *noUsableSource) Is(target error) bool { return target == ErrRefused && len(e.causes) == 0 }

// noneUsable lists the reason for each source, on one line.
func (s *sources) noneUsable(flaws []error) error {
	e := &noUsableSource{flaws: flaws}
	var parts []string
	for at, flaw := range flaws {
		if flaw == nil {
			flaw = s.lostReason(at)
		}
		if !errors.Is(refused(flaw), ErrRefused) {
			e.causes = append(e.causes, flaw)
		}
		parts = append(parts, inOneLine(flaw))
	}
	e.text = fmt.Sprintf("none of the %d sources can be used: %s", len(s.sites), strings.Join(parts, "; "))
	return e
}

// rightSourceUnusable is the error if Request.RightSource cannot be used but another
// source can.
func (s *sources) rightSourceUnusable(name string, flaws []error) error {
	at := slices.IndexFunc(s.sites, func(s site) bool { return s.Replica == name })
	flaw := flaws[at]
	if flaw == nil {
		flaw = s.lostReason(at)
	}
	e := &noUsableSource{flaws: flaws, text: fmt.Sprintf("source %s, given as the right one, cannot be used: %s", name, inOneLine(flaw))}
	if !errors.Is(refused(flaw), ErrRefused) {
		e.causes = []error{flaw}
	}
	return e
}

// inOneLine replaces the line breaks of errors.Join.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// checkSources refuses an invalid list of sources.
func (r request) checkSources() error {
	all := r.sources()
	for i, site := range all {
		if site.Host == nil {
			return refusef("source %d has no host", i+1)
		}
		if err := domain.CheckReplicaName(site.Replica); err != nil {
			return &refusal{err}
		}
	}
	return r.checkRightSource()
}

// checkRightSource refuses a RightSource that is not the name of exactly one source.
func (r request) checkRightSource() error {
	if r.RightSource == "" {
		return nil
	}
	names, named := []string{}, 0
	for _, site := range r.sources() {
		if names = append(names, site.Replica); site.Replica == r.RightSource {
			named++
		}
	}
	switch named {
	case 0:
		return refusef("source %s, given as the right one, is not among the sources: %s", r.RightSource, strings.Join(names, ", "))
	case 1:
		return nil
	}
	return refusef("%d sources are named %s, so the right one is ambiguous: give it as the only source", named, r.RightSource)
}
