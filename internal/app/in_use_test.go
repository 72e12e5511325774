package app_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

var (
	exported = domain.User{Kind: domain.UserExport, Name: "nqn.2023-01.io.longhorn.spdk:" + copyName}
	attached = domain.User{Kind: domain.UserExport, Name: exported.Name, NoDelete: true}
)

// inUse are a source and a hurt copy, both with heads that somebody uses.
func inUse(t *testing.T, user domain.User) (b *fixture, source, destination app.Site) {
	t.Helper()
	b = newFixture(t, memory.Config{}, memory.Config{})
	grown := newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4))
	grown.build(fieldTree(1))
	makeImage(t, b.destination, 4)
	newBuilder(t, b.destination, copyName, "").build(fieldTree(1))
	for _, at := range []struct {
		host    *memory.Host
		replica string
	}{{b.source, sourceName}, {b.destination, copyName}} {
		require.NoError(t, at.host.Use(list(t, at.host, at.replica).Head.UUID, user))
	}
	return b, app.Site{Host: b.source, Replica: sourceName}, app.Site{Host: b.destination, Replica: copyName}
}

// Every command that changes the replica of a volume
// that somebody uses is refused before any change, with who uses it. Where that is
// allowed it is done, but for a delete that would hang the host.
func TestReplicasInUseAreNotChanged(t *testing.T) {
	type command struct {
		do      func(source, destination app.Site) error
		deletes bool // a head
	}
	ctx := context.Background()
	engine := app.New(nil)
	image := domain.ImageBase(imageName)
	for what, c := range map[string]command{
		"rebuild": {func(source, destination app.Site) error {
			_, err := engine.Rebuild(ctx, app.Request{Source: source, Destination: destination, Base: image})
			return err
		}, true},
		"plan": {func(source, destination app.Site) error {
			_, err := engine.Plan(ctx, app.Request{Source: source, Destination: destination, Base: image})
			return err
		}, true},
		"repair": {func(_, destination app.Site) error {
			_, err := engine.Repair(ctx, app.RepairRequest{Replica: destination, Base: image})
			return err
		}, false},
		"delete": {func(_, destination app.Site) error {
			_, err := engine.DeleteReplica(ctx, destination, nil)
			return err
		}, true},
		"create snapshot": {func(_, destination app.Site) error {
			_, err := engine.CreateSnapshot(ctx, destination, "s")
			return err
		}, false},
		"delete snapshot": {func(_, destination app.Site) error {
			_, err := engine.DeleteSnapshot(ctx, destination, "snap12")
			return err
		}, false},
		"revert": {func(_, destination app.Site) error {
			_, err := engine.Revert(ctx, app.RevertRequest{Replica: destination, Snapshot: "snap12"})
			return err
		}, true},
	} {
		for _, user := range []domain.User{exported, attached} {
			t.Run(fmt.Sprintf("%s, held: %v", what, user.NoDelete), func(t *testing.T) {
				b, source, destination := inUse(t, user)
				before, beside := contents(t, b.destination), contents(t, b.source)
				err := c.do(source, destination)
				require.ErrorIs(t, err, app.ErrRefused)
				require.ErrorContains(t, err, user.Name)
				require.ErrorContains(t, err, copyName+" on lvstore disk-2")
				require.Equal(t, before, contents(t, b.destination))
				require.Equal(t, beside, contents(t, b.source))

				destination.AllowInUse = true
				err = c.do(source, destination)
				if c.deletes && user.NoDelete {
					require.ErrorIs(t, err, app.ErrRefused)
					require.ErrorContains(t, err, user.Name)
					require.Equal(t, before, contents(t, b.destination))
					return
				}
				require.NoError(t, err)
			})
		}
	}
}

// A source is only read while its head has nothing of its own; else it is frozen.
func TestSourceInUseIsReadOnly(t *testing.T) {
	ctx := context.Background()
	b, source, destination := inUse(t, exported)
	head := list(t, b.source, sourceName).Head.UUID
	require.NoError(t, b.destination.Use(list(t, b.destination, copyName).Head.UUID, domain.User{}))
	request := app.Request{Source: source, Destination: destination, Base: domain.ImageBase(imageName)}

	before := contents(t, b.source)
	report, err := app.New(nil).Rebuild(ctx, request)
	require.NoError(t, err)
	require.Empty(t, report.Warnings)
	require.Equal(t, before, contents(t, b.source))

	require.NoError(t, b.source.WriteAt(head, filled(99), 0))
	before, beside := contents(t, b.source), contents(t, b.destination)
	report, err = app.New(nil).Rebuild(ctx, request)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, sourceName+" on lvstore disk-1 is in use")
	require.ErrorContains(t, err, exported.Name)
	require.Equal(t, app.OutcomeRefused, report.Outcome)
	require.Equal(t, before, contents(t, b.source))
	require.Equal(t, beside, contents(t, b.destination))

	request.Source.AllowInUse = true
	report, err = app.New(nil).Rebuild(ctx, request)
	require.NoError(t, err)
	require.NotEmpty(t, report.Warnings)
	require.Len(t, list(t, b.source, sourceName).Snapshots, fieldSnapshots+1)
	requireEqualViews(t, b, sourceName, copyName, true)
}

// A volume may be attached after the plan was made: the look before each delete sees
// it, and the next plan is refused.
func TestReplicaAttachedMeanwhileStays(t *testing.T) {
	ctx := context.Background()
	b, source, destination := inUse(t, domain.User{})
	head := list(t, b.destination, copyName).Head.UUID
	before := contents(t, b.destination)
	inject(b.destination, on("look").ofUUID(head).does(func() {
		require.NoError(t, b.destination.Use(head, exported))
	}))
	_, err := app.New(nil).Rebuild(ctx, app.Request{Source: source, Destination: destination, Base: domain.ImageBase(imageName)})
	refused := (*domain.Refusal)(nil)
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, exported.Name)
	b.destination.Inject(nil)
	require.NoError(t, b.destination.Use(head, domain.User{}))
	require.Equal(t, before, contents(t, b.destination))
}

// What a replica's snapshots are proven to be is no reason to forget what is allowed.
func TestAllowInUseOutlivesProofs(t *testing.T) {
	b, source, destination := inUse(t, exported)
	destination.AllowInUse = true
	report, err := app.New(nil).Rebuild(context.Background(), app.Request{Source: source, Destination: destination, Base: domain.ImageBase(imageName)})
	require.NoError(t, err)
	require.Zero(t, report.CopiedBytes, "all snapshots are proven")
	require.Len(t, report.Warnings, 1)
	requireEqualViews(t, b, sourceName, copyName, true)
}

func TestGarbageInUseIsNotRemoved(t *testing.T) {
	ctx := context.Background()
	b := newFixture(t, memory.Config{}, memory.Config{})
	l, err := b.destination.Create(ctx, domain.InFlightLvolName(copyName, "0badcafe"), cluster)
	require.NoError(t, err)
	require.NoError(t, b.destination.Use(l, exported))
	removed, err := app.New(nil).RemoveGarbage(ctx, b.destination)
	require.NoError(t, err)
	require.Empty(t, removed.Lvols)
	found, err := app.New(nil).FindGarbage(ctx, b.destination)
	require.NoError(t, err)
	require.Len(t, found.Lvols, 1)
	require.Contains(t, found.Lvols[0].Stays, exported.Name)
}
