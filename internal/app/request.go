package app

import (
	"strings"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Request describes a rebuild: its source, its destination and its options.
type Request struct {
	Source, Destination Site

	// MoreSources are other healthy replicas of the volume. The rebuild is planned from
	// the first healthy one of Source and these. The others serve copies of snapshots that
	// are proven identical there, and replace a source that fails.
	MoreSources []Site

	// RightSource is the name of the source that is right where sources differ. The
	// rebuild is planned from it or fails, and data that only other sources have is lost.
	// With "" a rebuild is refused if its planned source lacks a user's snapshot that
	// another source has, a part of the size, or all the data.
	RightSource string

	// Volume is the volume's name. A Queue runs one rebuild of a volume at a time. With
	// "", rebuilds that share a source count as rebuilds of one volume.
	Volume string

	// Base is the volume's base as far as the caller knows it. The zero Base
	// leaves it to records and lineage; if both are silent, the rebuild is refused.
	Base    domain.Base
	Options domain.Options

	// Parallel is the number of copies at once, and of other operations beside them; 0:
	// DefaultParallel. With 1 all operations run one after the other.
	Parallel int

	// Bandwidth are limits that this rebuild observes, all of them. Other rebuilds may
	// share them, and they may change during the rebuild.
	Bandwidth []*Bandwidth

	// perSource are additional limits of copies, by position of the source. A Queue sets
	// it.
	perSource []*Bandwidth

	// use is the handle by which EndRebuilds ends the rebuild. A Queue sets it; otherwise
	// nil.
	use *use

	// online has the rest of a request of SubmitOnline; otherwise nil.
	online *OnlineRequest

	Proof    bool          // at the end, compare maps and checksums of all snapshots, if the hosts have them
	Views    bool          // at the end, read every view of both replicas back and compare
	Observer Observer      // may be nil
	Journal  ports.Journal // records this rebuild and knows earlier ones; may be nil
}

// DefaultParallel is the number of copies at once if a Request sets none. While one copy
// transfers data, others begin and end, which takes a few round trips each.
const DefaultParallel = 4

// request is a Request with its hosts guarded.
type request struct {
	Request

	Source, Destination site
	MoreSources         []site

	live *liveRun // of a rebuild under a live volume; nil: offline
}

func (r Request) guarded() request {
	guarded := Site.guarded
	if r.Options.NoChecksums {
		guarded = func(s Site) site { return site{s, guard.KnownProofs(s.Host)} }
	}
	inside := request{Request: r, Source: guarded(r.Source), Destination: guarded(r.Destination)}
	for _, s := range r.MoreSources {
		inside.MoreSources = append(inside.MoreSources, guarded(s))
	}
	return inside
}

func (r Request) parallel() int {
	if r.Parallel > 0 {
		return r.Parallel
	}
	return DefaultParallel
}

// sources are all sources of the request, the preferred one first.
func (r Request) sources() []Site {
	return append([]Site{r.Source}, r.MoreSources...)
}

func (r request) sources() []site {
	return append([]site{r.Source}, r.MoreSources...)
}

func (r request) check() error {
	switch {
	case r.Source.Host == nil:
		return refusef("no source host")
	case r.Destination.Host == nil:
		return refusef("no destination host")
	case r.Parallel < 0:
		return refusef("%d copies at once: expected at least 1", r.Parallel)
	case r.Proof && r.Options.NoChecksums:
		return refusef("maps and checksums cannot be compared at the end without computing checksums")
	}
	if err := r.checkSources(); err != nil {
		return err
	}
	if err := domain.CheckReplicaName(r.Destination.Replica); err != nil {
		return &refusal{err}
	}
	if err := r.Destination.checkChangeable(); err != nil {
		return err
	}
	return r.checkBandwidth()
}

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
