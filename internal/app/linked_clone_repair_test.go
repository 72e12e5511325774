package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// newHurtClone has a whole linked clone on both hosts, and damages the one on the
// destination's. It returns the views there before that.
func newHurtClone(t tester, flavour memory.Flavour, damage func(b *fixture)) (b *fixture, right map[string]string) {
	b = newCloneFixture(t, flavour)
	_, err := app.New(nil).Rebuild(context.Background(), b.request())
	require.NoError(t, err)
	right = viewsIn(contents(t, b.destination))
	damage(b)
	return b, right
}

// moved grafts an lvol of the destination's host onto another one, or onto none.
func (b *fixture) moved(t tester, name, onto string) {
	t.Helper()
	parent := ""
	if onto != "" {
		parent = named(t, b.destination, onto).UUID
	}
	require.NoError(t, b.destination.Graft(context.Background(), named(t, b.destination, name).UUID, parent))
}

const (
	cloneAncestor = copyName + "-snap-s1"
	dailyHere     = nineHere + "-snap-daily"
)

func cloneDamages(t tester) map[string]func(b *fixture) {
	return map[string]func(b *fixture){
		"the ancestor lost it":            func(b *fixture) { b.moved(t, cloneAncestor, "") },
		"the ancestor is on the snapshot": func(b *fixture) { b.moved(t, cloneAncestor, dailyHere) },
		"the entry point is loose":        func(b *fixture) { b.moved(t, entryPointHere, "") },
		"it is on another snapshot":       func(b *fixture) { b.moved(t, entryPointHere, nineHere+"-snap-weekly") },
		"the entry point is gone": func(b *fixture) {
			b.moved(t, cloneAncestor, "")
			require.NoError(t, b.destination.Delete(context.Background(), named(t, b.destination, entryPointHere).UUID))
		},
	}
}

// L#13714: nothing can be done with a linked clone.
func TestField_13714_HurtLinkedCloneIsRepairedInPlace(t *testing.T) {
	ctx := context.Background()
	for what, damage := range cloneDamages(t) {
		for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
			t.Run(what+", "+flavour.String(), func(t *testing.T) {
				b, right := newHurtClone(t, flavour, damage)
				engine := app.New(nil)
				hurt, healthy := app.Site{Host: b.destination, Replica: copyName}, app.Site{Host: b.source, Replica: sourceName}
				found, err := engine.Audit(ctx, app.AuditRequest{Sites: []app.Site{healthy, hurt}})
				require.NoError(t, err)
				require.Empty(t, found.Volumes[0].Replicas[0].Violations)
				require.NotEmpty(t, found.Volumes[0].Replicas[1].Violations)

				report, err := engine.Repair(ctx, app.RepairRequest{Replica: hurt, Healthy: healthy})
				require.NoError(t, err)
				require.Empty(t, report.Violations)
				require.Zero(t, report.Plan.CopiedClusters())
				require.Equal(t, right, viewsIn(contents(t, b.destination)))
				found, err = engine.Audit(ctx, app.AuditRequest{Sites: []app.Site{healthy, hurt}})
				require.NoError(t, err)
				require.False(t, found.Wrong())
			})
		}
	}
}

func TestInterruptedRepairOfCloneIsFinishedByNext(t *testing.T) {
	for what, damage := range cloneDamages(t) {
		t.Run(what, func(t *testing.T) {
			crashes(t, func(t *testing.T, arm func(*memory.Host)) func() {
				b, right := newHurtClone(t, memory.Fork, damage)
				request := app.RepairRequest{Replica: app.Site{Host: b.destination, Replica: copyName}, Base: domain.CloneBase("vol-9", "daily")}
				arm(b.destination)
				if _, err := app.New(nil).Repair(context.Background(), request); err != nil {
					require.ErrorIs(t, err, errCrash)
				}
				return func() {
					report, err := app.New(nil).Repair(context.Background(), request)
					require.NoError(t, err)
					require.Empty(t, report.Violations)
					require.Equal(t, right, viewsIn(contents(t, b.destination)))
				}
			})
		})
	}
}

// TestAuditProvesBasesOfLinkedClones: the clones are equal, the snapshots below are not.
func TestAuditProvesBasesOfLinkedClones(t *testing.T) {
	b, _ := newHurtClone(t, memory.Fork, func(*fixture) {})
	other := newFixture(t, memory.Config{}, memory.Config{})
	nine := newBuilder(t, other.destination, nineThere, "").build("weekly 0=31 3=77\n  daily 1=32 7=38\n    head 2=33\n")
	newBuilder(t, other.destination, sourceName, makeEntryPoint(nine, "daily")).build(cloneTree)
	sites := []app.Site{{Host: b.source, Replica: sourceName}, {Host: b.destination, Replica: copyName}, {Host: other.destination, Replica: sourceName}}
	report, err := app.New(nil).Audit(context.Background(), app.AuditRequest{Sites: sites})
	require.NoError(t, err)
	require.Len(t, report.Volumes[0].Differences, 1)
	require.Contains(t, report.Volumes[0].Differences[0].String(), "snapshot weekly of volume vol-9 has other data")
}

// TestUnusedEntryPointIsGarbage, but not one that a run has just made.
func TestUnusedEntryPointIsGarbage(t *testing.T) {
	ctx := context.Background()
	b := newCloneFixture(t, memory.Fork)
	engine := app.New(nil)
	var during app.Garbage
	sealed := on("seal").of(entryPointHere)
	inject(b.destination, sealed, on("graft").after(sealed).once().does(func() {
		var err error
		during, err = engine.FindGarbage(ctx, b.destination)
		require.NoError(t, err)
	}))
	_, err := engine.Rebuild(ctx, b.request())
	require.NoError(t, err)
	require.Contains(t, names(during.Lvols), entryPointHere)
	for _, l := range during.Lvols {
		require.Contains(t, l.Stays, "is active in this process", l.Lvol.Name)
	}
	found, err := engine.FindGarbage(ctx, b.destination)
	require.NoError(t, err)
	require.Empty(t, found.Lvols, "it has a clone")

	_, err = engine.DeleteReplica(ctx, app.Site{Host: b.destination, Replica: copyName}, nil)
	require.NoError(t, err)
	removed, err := engine.RemoveGarbage(ctx, b.destination)
	require.NoError(t, err)
	require.Equal(t, []string{entryPointHere}, names(removed.Lvols))
	require.False(t, list(t, b.destination, copyName).Exists())
	require.Len(t, list(t, b.destination, nineHere).Store.Lvols, 3, "vol-9 stays")
}
