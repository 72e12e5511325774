package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
)

// reservePercent of the destination's store is kept free: thin volumes overcommit, and
// on a full store writes to healthy replicas fail.
const reservePercent = 1

// rebuildFlags are the flags of both plan and rebuild.
type rebuildFlags struct {
	sources          []string
	destination      string
	base             baseFlags
	fast             bool
	acceptHurtSource bool
	noChecksums      bool
	rightSource      string
	inUse            bool
	confirmed        string
	journal          string
	online           bool
	volume           volumeFlags
	output           outputFlag
}

func (f *rebuildFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&f.sources, "source", nil, "`ADDRESS` of a healthy replica; repeat it for each one")
	flags.StringVar(&f.destination, "destination", "", "`ADDRESS` of the replica to rebuild")
	f.base.add(c, baseUsage)
	flags.BoolVar(&f.fast, "fast", true, "keep snapshots that are proven identical")
	flags.BoolVar(&f.acceptHurtSource, "accept-hurt-source", false, "rebuild from a replica that lost its base")
	flags.StringVar(&f.rightSource, "right-source", "", "`REPLICA` among the sources that is right where they differ")
	flags.BoolVar(&f.noChecksums, "no-checksums", false, "do not let hosts compute and store checksums; use those that exist")
	addInUse(c, &f.inUse)
	flags.StringVar(&f.journal, "journal", "", "`FILE` that records what was sealed, as proof for hosts without checksums")
	flags.BoolVar(&f.online, "online", false, "rebuild under a live volume, while clients read and write it")
	f.volume.add(c)
	f.output.add(c)
	c.Args = exactArgs()
}

const addressHelp = `
An ADDRESS is ` + addressForm + `.
listen is where the host receives data; default 127.0.0.1:20001-20400.`

// parse returns the request without its hosts, and the addresses of these: the
// destination, then the sources.
func (f *rebuildFlags) parse(c *cobra.Command) (request rebuild.Request, at []address, err error) {
	sources, err := parseAddresses("source", f.sources)
	if err != nil {
		return request, nil, err
	}
	destination, err := parseAddress("destination", f.destination)
	if err != nil {
		return request, nil, err
	}
	request = rebuild.Request{RightSource: f.rightSource, Options: rebuild.Options{
		Full: !f.fast, AcceptHurtSource: f.acceptHurtSource, NoChecksums: f.noChecksums, ReservePercent: reservePercent,
	}}
	if f.rightSource != "" && !slices.ContainsFunc(sources, func(source address) bool { return source.replica == f.rightSource }) {
		return request, nil, badUsage("--right-source %s: no --source names that replica", f.rightSource)
	}
	if c.Flags().Changed("confirm") {
		if f.confirmed != destination.replica {
			return request, nil, badUsage("%s: the repeated name is %q, expected %s; nothing was changed", c.CommandPath(), f.confirmed, destination.replica)
		}
		request.Options.Overwrite = f.confirmed
	}
	request.Base, err = f.base.base(c)
	return request, append([]address{destination}, sources...), err
}

// checkOnline refuses flags of a live volume without one, and returns where it is.
func (f *rebuildFlags) checkOnline(c *cobra.Command) (at volumeAddress, err error) {
	if f.online {
		return f.volume.check()
	}
	for _, name := range volumeFlagNames {
		if c.Flags().Changed(name) {
			return at, badUsage("--%s: expected --online with it", name)
		}
	}
	return at, nil
}

// rebuilder plans and carries out rebuilds of one kind.
type rebuilder struct {
	plan     func(ctx context.Context, request rebuild.Request) (rebuild.Plan, error)
	rebuild  func(ctx context.Context, request rebuild.Request) (rebuild.Report, error)
	stopping string // what a freeze does to clients
}

func (p cli) offline() rebuilder { return rebuilder{plan: p.engine.Plan, rebuild: p.engine.Rebuild} }

// online is the rebuilder under a live volume.
func (p cli) online(volume openedVolume, flags volumeFlags) rebuilder {
	live := func(request rebuild.Request) rebuild.OnlineRequest {
		return rebuild.OnlineRequest{Request: request, Mirror: volume, Freezer: flags.freezer(volume), FreezeLimit: flags.limit}
	}
	return rebuilder{
		func(ctx context.Context, request rebuild.Request) (rebuild.Plan, error) {
			return p.engine.PlanOnline(ctx, live(request))
		},
		func(ctx context.Context, request rebuild.Request) (rebuild.Report, error) {
			return p.engine.RebuildOnline(ctx, live(request))
		},
		flags.stopping(),
	}
}

// withRequest opens all hosts and the live volume, calls use with the request, and closes
// them.
func (p cli) withRequest(c *cobra.Command, flags rebuildFlags, use func(rebuild.Request, rebuilder) error) error {
	at, err := flags.checkOnline(c)
	if err != nil {
		return err
	}
	return p.withHosts(c, flags, func(request rebuild.Request) error {
		if !flags.online {
			return use(request, p.offline())
		}
		volume, err := p.openVolume(c.Context(), at)
		if err != nil {
			return p.conclude(flags.output, err, newResult(rebuild.Report{Outcome: rebuild.OutcomeFailed}, err), "")
		}
		defer func() { _ = volume.Close() }() // no call is under way
		return use(request, p.online(volume, flags.volume))
	})
}

// withHosts opens all hosts, calls use with the request, and closes them.
func (p cli) withHosts(c *cobra.Command, flags rebuildFlags, use func(rebuild.Request) error) error {
	request, places, err := flags.parse(c)
	if err != nil {
		return err
	}
	isOneOfSeveral := func(i int) bool { return i > 0 && len(places) > 2 }
	hosts, closeAll, err := p.open.all(c.Context(), places, isOneOfSeveral)
	if err != nil {
		return p.conclude(flags.output, err, newResult(rebuild.Report{Outcome: rebuild.OutcomeFailed}, err), "")
	}
	defer closeAll()
	for i, host := range hosts {
		site := rebuild.Site{Host: host, Replica: places[i].replica, AllowInUse: flags.inUse}
		switch i {
		case 0:
			request.Destination = site
		case 1:
			request.Source = site
		default:
			request.MoreSources = append(request.MoreSources, site)
		}
	}
	return use(request)
}

// unreachable stands for the host of one of several sources that could not be opened.
// The engine passes it over for the error of its List, if another source is usable.
type unreachable struct {
	rebuild.Host // nil, as the others: the engine calls List first
	rebuild.Live
	rebuild.Merger

	err error
}

func (u *unreachable) Close() error { return nil }

// List implements rebuild.Looker. A retry would not open the host, so the error wraps
// no kind that is retried.
func (u *unreachable) List(context.Context) (rebuild.Listing, error) {
	return rebuild.Listing{}, errors.New(oneLine(u.err.Error()))
}
