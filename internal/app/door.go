package app

import (
	"slices"

	"github.com/rootgraft/rebuild/internal/app/guard"
)

// Where hosts enter the engine.

// guarded is the site with its host guarded.
func (s Site) guarded() Site {
	s.Host = guard.Host(s.Host)
	return s
}

// guarded is the request with its hosts guarded.
func (r Request) guarded() Request {
	guarded := Site.guarded
	if r.Options.NoChecksums {
		guarded = func(s Site) Site { s.Host = guard.KnownProofs(s.Host); return s }
	}
	r.Source, r.Destination = guarded(r.Source), guarded(r.Destination)
	r.MoreSources = slices.Clone(r.MoreSources)
	for i, site := range r.MoreSources {
		r.MoreSources[i] = guarded(site)
	}
	return r
}
