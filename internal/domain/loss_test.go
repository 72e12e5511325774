package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const otherVolumes = "vol-9-r-0a1b2c3d"

// renamed is a store whose replica is named as a replica of another volume.
func renamed(s Listing) Listing {
	s.Lvols = append([]Lvol(nil), s.Lvols...)
	for i := range s.Lvols {
		if rest, ok := strings.CutPrefix(s.Lvols[i].Name, sourceReplica); ok {
			s.Lvols[i].Name = otherVolumes + rest
		}
	}
	return s
}

// planFrom plans from the source of a fixture, or from the same one as a replica of
// another volume.
func (s fixture) planFrom(replica string, overwrite string) (Plan, error) {
	store := s.source
	if replica == otherVolumes {
		store = renamed(store)
	}
	source, err := NewReplica(store, replica)
	if err != nil {
		return Plan{}, err
	}
	destination, err := NewDestination(s.destination, destinationReplica, source)
	if err != nil {
		return Plan{}, err
	}
	options := s.options
	options.Overwrite = overwrite
	return PlanRebuild(source, destination, s.requested, options)
}

func TestOverwriteNeedsConfirmation(t *testing.T) {
	const source = "requested base\nsource\n  image:base\n    s1 own=a/2\n      head\ndestination"
	for what, c := range map[string]struct {
		fixture string
		volumes string // what is refused if the destination is one of another volume; "": nothing is
		own     string // what is refused even if it is one of the same
	}{
		"nothing is there":                  {source + "\n  image:base\n", "", ""},
		"an empty head":                     {source + "\n  image:base\n    head\n", "", ""},
		"a degraded head":                   {source + "\n  image:base\n    head degraded\n", "head (degraded, so its data is not known)", ""},
		"a head on an external snapshot":    {source + "\n  image:base\n  head external=nvme0n1\n", "head (on external snapshot nvme0n1)", ""},
		"a written head":                    {source + "\n  image:base\n    head own=?/3\n", "head (3 clusters of its own)", ""},
		"a snapshot and a written head":     {source + "\n  image:base\n    mine own=m/2\n      head own=?/3\n", "would be deleted: head (3 clusters of its own), snapshot mine (2 clusters of its own)", ""},
		"an empty snapshot":                 {source + "\n  image:base\n    mine\n      head\n", "snapshot mine (0 clusters of its own)", ""},
		"snapshots without a head":          {source + "\n  image:base\n    mine own=m/2\n", "snapshot mine (2 clusters of its own)", ""},
		"a lookalike under a head":          {source + "\n  image:base\n    s1 own=?/2\n      head\n", "snapshot s1 (2 clusters of its own)", ""},
		"a lookalike without a head":        {source + "\n  image:base\n    s1 own=?/2\n", "", ""}, // as a run that was stopped leaves it
		"one that is proven to be another":  {source + "\n  image:base\n    s1 own=x/2\n", "snapshot s1 (2 clusters of its own)", ""},
		"another one of that name":          {source + "\n  image:base\n    s1 own=?/3\n", "snapshot s1 (3 clusters of its own)", ""},
		"the very same":                     {source + "\n  image:base\n    s1 own=a/2\n      head record=base\n", "", ""},
		"the very same, and a written head": {source + "\n  image:base\n    s1 own=a/2\n      head own=?/1\n", "head (1 cluster of its own)", ""},
		"what was in flight":                {source + "\n  image:base\n  flight:01234567 own=?/2\n", "", ""},
		"a head that would shrink":          {source + "\n  image:base\n    s1 own=a/2\n      head size=9\n", "would shrink from 9437184 to the 8388608 bytes", "the head of replica vol-1-r-4e5f6a7b on lvstore disk-b would shrink from 9437184 to the 8388608 bytes of source"},
		"a written head that would shrink":  {source + "\n  image:base\n    mine own=m/2\n      head size=9 own=?/3\n", "would be deleted", "would be deleted: head (3 clusters of its own), snapshot mine (2 clusters of its own)"},
		"a head that would grow":            {source + "\n  image:base\n    s1 own=a/2 size=4\n      head size=7\n", "snapshot s1", ""},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, c.fixture)
			for replica, refused := range map[string]string{sourceReplica: c.own, otherVolumes: c.volumes} {
				_, err := s.planFrom(replica, "")
				if refused == "" {
					require.NoError(t, err, replica)
				} else {
					requireRefusal(t, err, refused, "confirm the name vol-1-r-4e5f6a7b")
					var loss *LossRefusal
					require.ErrorAs(t, err, &loss)
					require.Equal(t, destinationReplica, loss.Replica)
				}
				plan, err := s.planFrom(replica, destinationReplica)
				require.NoError(t, err, "its name was repeated")
				requireDeletionsListed(t, plan)
				_, err = s.planFrom(replica, "vol-1-r-8c9d0e1f")
				requireRefusal(t, err, "is given as vol-1-r-8c9d0e1f, but the destination is vol-1-r-4e5f6a7b")
			}
		})
	}
}

// A rebuild onto another volume's replica is refused at the start or never: one that
// was allowed can be repeated after any interruption.
func TestConfirmedOverwriteCanBeRepeated(t *testing.T) {
	for what, drawn := range map[string]string{
		"onto nothing":              "\n  image:base\n",
		"onto nothing, on upstream": " upstream\n  image:base\n",
		"onto an empty head":        "\n  image:base\n    head\n",
		"with the name repeated":    "\n  image:base\n    mine own=m/2\n      head own=?/3\n",
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested base\nsource\n  image:base\n    s1 own=a/2\n      s2 own=b/1\n        s3 own=c/1\n          head\ndestination"+drawn)
			overwrite := ""
			if what == "with the name repeated" {
				overwrite = destinationReplica
			}
			plan, err := s.planFrom(otherVolumes, overwrite)
			require.NoError(t, err)
			for done := range plan.Operations {
				state := s.destination
				for _, o := range plan.Operations[:done] {
					state, err = Apply(state, s.source, destinationReplica, o)
					require.NoError(t, err)
				}
				stopped := s
				stopped.destination = state
				again, err := stopped.planFrom(otherVolumes, overwrite)
				require.NoError(t, err, "after %d operations", done)
				require.True(t, again.Changes())
			}
		})
	}
}

func TestPlanWarnsOfOtherSize(t *testing.T) {
	for drawn, warns := range map[string]string{
		"\n    head size=7":             "destination vol-1-r-4e5f6a7b on lvstore disk-b has another size: 7340032 bytes instead of the 8388608 of source vol-1-r-0a1b2c3d on lvstore disk-a",
		"\n    head size=9":             "has another size: 9437184 bytes",
		"\n    mine size=9":             "has another size: 9437184 bytes",
		"\n    mine size=7":             "", // the volume may have grown since
		"\n    head":                    "",
		"\n    mine size=7\n      head": "",
		"":                              "",
	} {
		s := parseFixture(t, "requested base\nsource\n  image:base\n    s1 own=a/2\n      head\ndestination\n  image:base"+drawn+"\n")
		plan, err := s.planFrom(sourceReplica, destinationReplica)
		require.NoError(t, err)
		if warns == "" {
			require.Empty(t, plan.Warnings, drawn)
		} else {
			require.Len(t, plan.Warnings, 1)
			require.Contains(t, plan.Warnings[0], warns)
		}
	}
}

// longhorn/longhorn#1298: two snapshots of one name were shown as one.
func TestField_1298_PlanNamesReplicaAndStore(t *testing.T) {
	plan := parseFixture(t, "requested none\nsource\n  s1 own=a/2\n    s2 own=b/2\n      s3 own=c/1\n        head\ndestination\n  s1 own=a/2\n    s2 own=x/2\n      s3 own=c/1\n        head\n").mustPlan(t)
	var reasons []string
	for _, step := range plan.Steps {
		require.NotContains(t, step.Reason, "s2 instead of s2")
		reasons = append(reasons, step.Reason)
	}
	require.Contains(t, strings.Join(reasons, "\n"), "but its parent is the old s2, which is deleted, instead of the new copy")
}
