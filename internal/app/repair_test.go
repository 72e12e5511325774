package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// newTwins makes the field's tree on both hosts, equal but for what hurt does
// to the one on the destination.
func newTwins(t tester, flavour memory.Flavour) (b *fixture, healthy, hurt app.Site) {
	t.Helper()
	b = newFixture(t, memory.Config{Flavour: flavour}, memory.Config{Flavour: flavour})
	newBuilder(t, b.source, sourceName, makeImage(t, b.source, 4)).build(fieldTree(10))
	newBuilder(t, b.destination, copyName, makeImage(t, b.destination, 4)).build(fieldTree(10))
	return b, app.Site{Host: b.source, Replica: sourceName}, app.Site{Host: b.destination, Replica: copyName}
}

// loseImage is the damage: the ancestor's parent is gone, and nothing says so.
func loseImage(t tester, at app.Site) {
	t.Helper()
	store, err := at.Host.List(context.Background())
	require.NoError(t, err)
	r, err := domain.NewReplica(store, at.Replica)
	require.NoError(t, err)
	ancestor := *r.Head
	if s, ok := r.Snapshot("snap11"); ok {
		ancestor = s.Lvol
	}
	require.NoError(t, at.Host.Graft(context.Background(), ancestor.UUID, ""))
}

// Audit finds it, on its own
// host alone and beside a healthy one, repair cures it without a byte copied,
// and audit finds nothing any more.
func TestField_10909_HurtReplicaIsRepairedInPlace(t *testing.T) {
	ctx := context.Background()
	for _, flavour := range []memory.Flavour{memory.Fork, memory.Upstream} {
		t.Run(flavour.String(), func(t *testing.T) {
			b, healthy, hurt := newTwins(t, flavour)
			engine := app.New(nil)
			right := contents(t, b.destination)
			loseImage(t, hurt)
			require.NotEqual(t, right, contents(t, b.destination))

			for what, request := range map[string]app.AuditRequest{
				"what was said": {Sites: []app.Site{hurt}, Base: domain.ImageBase(imageName)},
				"a healthy one": {Sites: []app.Site{healthy, hurt}},
				"both hosts":    {Sites: []app.Site{{Host: b.source}, {Host: b.destination}}},
			} {
				report, err := engine.Audit(ctx, request)
				require.NoError(t, err)
				require.True(t, report.Wrong(), what)
				require.Len(t, report.Volumes, 1)
				audits := report.Volumes[0].Replicas
				wrong := audits[len(audits)-1].Violations
				require.Len(t, wrong, 1, what)
				require.Equal(t, domain.RuleAncestorParent, wrong[0].Rule)
				require.Equal(t, "snap11", wrong[0].Subject)
				require.True(t, wrong[0].Repairable)
				require.Empty(t, report.Volumes[0].Differences, "told once")
			}
			alone, err := engine.Audit(ctx, app.AuditRequest{Sites: []app.Site{hurt}})
			require.NoError(t, err)
			require.False(t, alone.Wrong(), "nobody knows that the volume has an image")
			require.Contains(t, alone.Volumes[0].Replicas[0].Notices[0], "is not known")

			plan, err := engine.PlanRepair(ctx, app.RepairRequest{Replica: hurt, Healthy: healthy})
			require.NoError(t, err)
			require.Equal(t, domain.ActionGraft, plan.Steps[0].Action)
			require.NotEqual(t, right, contents(t, b.destination), "a plan changes nothing")

			source := contents(t, b.source)
			report, err := engine.Repair(ctx, app.RepairRequest{Replica: hurt, Healthy: healthy})
			require.NoError(t, err)
			require.Equal(t, app.OutcomeComplete, report.Outcome)
			require.True(t, report.Compared)
			require.Empty(t, report.Violations)
			require.Equal(t, viewsIn(right), viewsIn(contents(t, b.destination)), "every view is as it was before the damage")
			require.Equal(t, source, contents(t, b.source))
			for _, host := range []*memory.Host{b.source, b.destination} {
				require.Zero(t, host.Sent()+host.Received()+host.CopiedLocally(), "no byte is copied")
			}
			says := map[memory.Flavour]string{memory.Fork: "proven equal to those of vol-1-r-0a1b2c3d on disk-1", memory.Upstream: "the bytes are not proven"}[flavour]
			require.Contains(t, strings.Join(report.Notices, "\n"), says)
			requireEqualViews(t, b, sourceName, copyName, true)

			again, err := engine.Audit(ctx, app.AuditRequest{Sites: []app.Site{healthy, hurt}})
			require.NoError(t, err)
			require.False(t, again.Wrong())
			second, err := engine.Repair(ctx, app.RepairRequest{Replica: hurt})
			require.NoError(t, err)
			require.Empty(t, second.Plan.Operations)
		})
	}
}

// viewsIn are what lvols show.
func viewsIn(all map[string]content) map[string]string {
	views := make(map[string]string)
	for name, taken := range all {
		views[name] = taken.sha
	}
	return views
}

func TestRepairWithoutComparisonWarns(t *testing.T) {
	_, _, hurt := newTwins(t, memory.Fork)
	loseImage(t, hurt)
	report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Base: domain.ImageBase(imageName)})
	require.NoError(t, err)
	require.False(t, report.Compared)
	require.Contains(t, strings.Join(report.Notices, "\n"), "later writes are unproven until the replica is compared with a healthy one")
	require.Equal(t, imageName, report.Replica.Head.Record)
}

// Bytes that were written while the replica was hurt are found by the comparison:
// copy on write filled the rest of a cluster with zeros instead of the image's.
func TestComparisonFindsBytesWrittenWhileHurt(t *testing.T) {
	b, healthy, hurt := newTwins(t, memory.Fork)
	loseImage(t, hurt)
	for at, host := range map[app.Site]*memory.Host{healthy: b.source, hurt: b.destination} {
		head := list(t, host, at.Replica).Head
		require.NoError(t, host.WriteAt(head.UUID, []byte("written meanwhile"), 1*cluster+100))
		_, err := app.New(nil).CreateSnapshot(context.Background(), at, "later")
		require.NoError(t, err)
	}
	report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy})
	require.NoError(t, err, "the lineage is restored all the same")
	var rules []string
	for _, v := range report.Violations {
		rules = append(rules, v.Subject+" "+v.Rule)
	}
	require.Contains(t, rules, "later data")
	require.Contains(t, strings.Join(report.Notices, "\n"), "rebuild it from there")
}

func TestRepairLeavesBytesOfHeadUnproven(t *testing.T) {
	b, healthy, hurt := newTwins(t, memory.Fork)
	for at, host := range map[app.Site]*memory.Host{healthy: b.source, hurt: b.destination} {
		require.NoError(t, host.WriteAt(list(t, host, at.Replica).Head.UUID, filled(9), 0))
	}
	loseImage(t, hurt)
	report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy})
	require.NoError(t, err)
	require.Empty(t, report.Violations)
	require.Contains(t, strings.Join(report.Notices, "\n"), "the 1 clusters of the head are not")
}

func TestHurtReplicaProvesNoOther(t *testing.T) {
	_, healthy, hurt := newTwins(t, memory.Fork)
	loseImage(t, hurt)
	loseImage(t, healthy)
	report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy, Base: domain.ImageBase(imageName)})
	require.NoError(t, err)
	require.Len(t, report.Violations, 1)
	require.Contains(t, report.Violations[0].Detail, "in replica vol-1-r-0a1b2c3d on disk-1, which it was compared with")
	require.Contains(t, strings.Join(report.Notices, "\n"), "proves nothing")
}

func TestRefusedRepairChangesNothing(t *testing.T) {
	b, healthy, hurt := newTwins(t, memory.Fork)
	loseImage(t, hurt)
	before := contents(t, b.destination)
	for what, c := range map[string]struct {
		request app.RepairRequest
		says    string
	}{
		"the image is not known":  {app.RepairRequest{Replica: hurt}, "is not known"},
		"an image that is not":    {app.RepairRequest{Replica: hurt, Base: domain.ImageBase("other")}, "not on lvstore disk-2"},
		"compared with itself":    {app.RepairRequest{Replica: hurt, Healthy: hurt, Base: domain.ImageBase(imageName)}, "with itself"},
		"compared with nothing":   {app.RepairRequest{Replica: hurt, Healthy: app.Site{Host: b.source, Replica: "nope"}}, "replica nope not found"},
		"another than said":       {app.RepairRequest{Replica: hurt, Healthy: healthy, Base: domain.NoBase()}, "no backing image"},
		"no replica of that name": {app.RepairRequest{Replica: app.Site{Host: b.destination, Replica: "nope"}}, "replica nope not found on lvstore disk-2"},
		"a name that is none":     {app.RepairRequest{Replica: app.Site{Host: b.destination, Replica: "a/b"}}, "a/b"},
	} {
		t.Run(what, func(t *testing.T) {
			report, err := app.New(nil).Repair(context.Background(), c.request)
			require.ErrorIs(t, err, app.ErrRefused)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, app.OutcomeRefused, report.Outcome)
			require.Equal(t, before, contents(t, b.destination))
		})
	}
}

var errCrash = errors.New("crash")

// crashes has every call that changes something fail once, before and after it
// took effect, one after the other: try is run against a fresh world with the
// n-th call failing, until there is no n-th call.
func crashes(t *testing.T, try func(t *testing.T, arm func(*memory.Host)) (finish func())) {
	t.Helper()
	for _, after := range []bool{false, true} {
		for n, hit := 1, true; hit; n++ {
			hit = false
			t.Run(fmt.Sprintf("call %d, carried out %v", n, after), func(t *testing.T) {
				var armed *memory.Host
				finish := try(t, func(host *memory.Host) {
					armed = host
					nth := on("").where(func(c memory.Call) bool { return !slices.Contains([]string{"list", "look", "prove"}, c.Method) }).nth(n)
					nth.does(func() { hit = true }).fails(errCrash)
					if after {
						nth.answers(errCrash)
					}
					inject(host, nth)
				})
				armed.Inject(nil)
				finish()
			})
		}
	}
}

func TestInterruptedRepairIsFinishedByNext(t *testing.T) {
	crashes(t, func(t *testing.T, arm func(*memory.Host)) func() {
		b, healthy, hurt := newTwins(t, memory.Fork)
		right := viewsIn(contents(t, b.destination))
		loseImage(t, hurt)
		arm(b.destination)
		_, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy})
		if err != nil {
			require.ErrorIs(t, err, errCrash)
		}
		return func() {
			report, err := app.New(nil).Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy})
			require.NoError(t, err)
			require.Empty(t, report.Violations)
			require.Equal(t, right, viewsIn(contents(t, b.destination)))
		}
	})
}

func TestSecondChangeOfAReplicaIsRefused(t *testing.T) {
	b, healthy, hurt := newTwins(t, memory.Fork)
	loseImage(t, hurt)
	engine := app.New(nil)
	var inner error
	inject(b.destination, on("graft").does(func() {
		_, inner = engine.DeleteReplica(context.Background(), hurt, nil)
	}))
	_, err := engine.Repair(context.Background(), app.RepairRequest{Replica: hurt, Healthy: healthy})
	require.NoError(t, err)
	require.ErrorIs(t, inner, app.ErrRefused)
	require.ErrorContains(t, inner, "is in use by the repair of replica vol-1-r-4e5f6a7b")
}
