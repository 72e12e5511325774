package app

import (
	"github.com/rootgraft/rebuild/internal/app/guard"
)

// site is a Site with a guarded host. Every host enters the engine through guarded: the
// code behind it takes a site or a request, never a caller's host.
type site struct {
	Site

	Host *guard.Host
}

func (s Site) guarded() site { return site{s, guard.Wrap(s.Host)} }

// request is a Request with its hosts guarded.
type request struct {
	Request

	Source, Destination site
	MoreSources         []site
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
