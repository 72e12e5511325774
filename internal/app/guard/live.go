package guard

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

const exportLvols = "export lvols to live volumes"

// Offer implements ports.Live.
func (g *Host) Offer(ctx context.Context, run ports.Run, way ports.Way, to ...ports.Peer) (ports.Address, error) {
	return withinAs(ctx, g, callTime, exportLvols, func(ctx context.Context, l ports.Live) (ports.Address, error) { return l.Offer(ctx, run, way, to...) })
}

// Show implements ports.Live.
func (g *Host) Show(ctx context.Context, run ports.Run, at ports.Address, uuid string) error {
	return withinErrAs(ctx, g, exportLvols, func(ctx context.Context, l ports.Live) error { return l.Show(ctx, run, at, uuid) })
}

// Hide implements ports.Live.
func (g *Host) Hide(ctx context.Context, run ports.Run, at ports.Address) error {
	return withinErrAs(ctx, g, exportLvols, func(ctx context.Context, l ports.Live) error { return l.Hide(ctx, run, at) })
}

// HideHead implements ports.Live.
func (g *Host) HideHead(ctx context.Context, replica string) error {
	return withinErrAs(ctx, g, exportLvols, func(ctx context.Context, l ports.Live) error { return l.HideHead(ctx, replica) })
}

// Connect implements ports.Live.
func (g *Host) Connect(ctx context.Context, run ports.Run, ways ...ports.Address) error {
	return withinErrAs(ctx, g, exportLvols, func(ctx context.Context, l ports.Live) error { return l.Connect(ctx, run, ways...) })
}

// GraftExternal implements ports.Live.
func (g *Host) GraftExternal(ctx context.Context, run ports.Run, uuid string, ways ...ports.Address) error {
	return withinErrAs(ctx, g, exportLvols, func(ctx context.Context, l ports.Live) error { return l.GraftExternal(ctx, run, uuid, ways...) })
}

// Mirror guards a mirror's calls with deadlines.
type Mirror struct{ ports.Mirror }

// Volume implements ports.Mirror.
func (m Mirror) Volume(ctx context.Context) (domain.Volume, error) {
	return within(ctx, &Host{}, callTime, m.Mirror.Volume)
}

// Peer implements ports.Mirror.
func (m Mirror) Peer(ctx context.Context) (ports.Peer, error) {
	return within(ctx, &Host{}, callTime, m.Mirror.Peer)
}

// Connect implements ports.Mirror.
func (m Mirror) Connect(ctx context.Context, run ports.Run, at ports.Address) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Mirror.Connect(ctx, run, at) })
}

// Join implements ports.Mirror.
func (m Mirror) Join(ctx context.Context, run ports.Run, at ports.Address) (domain.Member, error) {
	return within(ctx, &Host{}, callTime, func(ctx context.Context) (domain.Member, error) { return m.Mirror.Join(ctx, run, at) })
}

// Leave implements ports.Mirror.
func (m Mirror) Leave(ctx context.Context, head string) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Mirror.Leave(ctx, head) })
}

// Release implements ports.Mirror.
func (m Mirror) Release(ctx context.Context, run ports.Run) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Mirror.Release(ctx, run) })
}

// Maker guards the calls of a mirror that is made or removed.
type Maker struct{ ports.Maker }

// Begin implements ports.Maker.
func (m Maker) Begin(ctx context.Context, heads ...string) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Maker.Begin(ctx, heads...) })
}

// Make implements ports.Maker.
func (m Maker) Make(ctx context.Context, at ...ports.Address) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Maker.Make(ctx, at...) })
}

// Remove implements ports.Maker.
func (m Maker) Remove(ctx context.Context, heads ...string) error {
	return withinErr(ctx, &Host{}, func(ctx context.Context) error { return m.Maker.Remove(ctx, heads...) })
}

// End implements ports.Maker.
func (m Maker) End(ctx context.Context) error { return withinErr(ctx, &Host{}, m.Maker.End) }
