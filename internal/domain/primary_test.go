package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStalePrimaryRefused(t *testing.T) {
	const whole = "\n  image:base\n    s1 own=a/2\n      s2 own=b/3\n        head own=?/1\n"
	for what, c := range map[string]struct {
		primary, other string
		refused        string // "": it is not
		warned         string // "": nothing is
	}{
		"both have the same": {whole, whole, "", ""},
		"a user's snapshot": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/1\n", whole,
			"only vol-1-r-4e5f6a7b on lvstore disk-b has snapshot s2 (3 clusters of its own)", "",
		},
		"several snapshots": {
			"\n  image:base\n    head own=?/1\n", whole, "has snapshots s1, s2 (5 clusters of its own)", "",
		},
		"a snapshot of a host that records no users": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/1\n", " upstream" + whole, "has snapshot s2", "",
		},
		"a snapshot of a source without a head": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/1\n", "\n  image:base\n    s1 own=a/2\n      s2 own=b/3\n", "has snapshot s2", "",
		},
		"a snapshot of a source that lost its image": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/1\n", "\n  image:base\n  s1 own=a/2\n    s2 own=b/3\n      head own=?/1\n", "has snapshot s2", "",
		},
		"a snapshot that the system took": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/4\n", "\n  image:base\n    s1 own=a/2\n      s2 own=b/3 system\n        head own=?/1\n",
			"", "only vol-1-r-4e5f6a7b on lvstore disk-b has system snapshot s2 (3 clusters of its own)",
		},
		"a snapshot that a rebuild took of the head": {
			"\n  image:base\n    s1 own=a/2\n      head own=?/4\n", "\n  image:base\n    s1 own=a/2\n      rebuild-01234567 own=b/4 system\n        head\n", "", "",
		},
		"all the data": {
			"\n  image:base\n    s1\n      s2\n        head\n", whole,
			"vol-1-r-4e5f6a7b on lvstore disk-b has 6 clusters of its own, and vol-1-r-0a1b2c3d on lvstore disk-a has none", "",
		},
		"all the data, in what a rebuild took of the head": {
			"\n  image:base\n    head\n", "\n  image:base\n    rebuild-01234567 own=b/4 system\n      head\n", "has 4 clusters of its own", "",
		},
		"a part of the size": {
			whole, strings.Replace(whole, "head", "head size=9", 1),
			"vol-1-r-4e5f6a7b on lvstore disk-b has 9437184 bytes, and vol-1-r-0a1b2c3d on lvstore disk-a 8388608", "",
		},
		"a part of the size of a source without a head": {
			whole, "\n  image:base\n    s1 own=a/2\n      s2 own=b/3 size=9\n", "has 9437184 bytes", "",
		},
		"the other one is smaller": {
			strings.Replace(whole, "head", "head size=9", 1), whole,
			"", "source vol-1-r-4e5f6a7b on lvstore disk-b has another size: 8388608 bytes instead of the 9437184 of vol-1-r-0a1b2c3d on lvstore disk-a",
		},
		"the other one has less": {whole, "\n  image:base\n    head\n", "", ""},
		"clusters of the head": {
			strings.Replace(whole, "head own=?/1", "head", 1), whole,
			"", "vol-1-r-4e5f6a7b on lvstore disk-b has 1 cluster of its own in its head, and vol-1-r-0a1b2c3d on lvstore disk-a 0",
		},
		"other clusters of the head": {whole, strings.Replace(whole, "?/1", "?/3", 1), "", "has 3 clusters of its own in its head, and vol-1-r-0a1b2c3d on lvstore disk-a 1"},
		"the head was frozen by a rebuild, and written to again": {
			"\n  image:base\n    s1 own=a/2\n      rebuild-01234567 own=b/4 system\n        head own=?/2\n", "\n  image:base\n    s1 own=a/2\n      head own=?/5\n", "", "",
		},
		"it is missing": {whole, "\n  image:base\n", "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			primary, other, _ := two(t, "source"+c.primary+"destination"+c.other)
			warnings, err := CheckPrimary(primary, []Replica{other}, false)
			text := strings.Join(warnings, "\n")
			if c.refused == "" {
				require.NoError(t, err)
				require.Contains(t, text, c.warned)
				require.Equal(t, c.warned == "", text == "", "%s", text)
				return
			}
			requireRefusal(t, err, c.refused)
			require.ErrorContains(t, err, "name the right source")
			require.Contains(t, text, c.refused, "it is a warning, too")

			warnings, err = CheckPrimary(primary, []Replica{other}, true)
			require.NoError(t, err, "the caller has said that the primary is right")
			require.Contains(t, strings.Join(warnings, "\n"), c.refused)
		})
	}
}

func TestPrimaryComparedWithAllSources(t *testing.T) {
	primary, other, _ := two(t, "source\n  head own=?/1\ndestination\n  s1 own=a/1\n    head own=?/1\n")
	third, _, _ := two(t, "source\n  s2 own=a/1\n    head own=?/1\ndestination\n")
	third.Store.Name = "disk-c"
	_, err := CheckPrimary(primary, []Replica{other, third}, false)
	requireRefusal(t, err, "only vol-1-r-4e5f6a7b on lvstore disk-b has snapshot s1")
	require.ErrorContains(t, err, "only vol-1-r-0a1b2c3d on lvstore disk-c has snapshot s2")
	_, err = CheckPrimary(primary, nil, false)
	require.NoError(t, err)
}

func TestSourceOfOtherVolumeRefused(t *testing.T) {
	for other, refused := range map[string]bool{"vol-1-r-8c9d0e1f": false, "vol-2-r-0a1b2c3d": true, "backup": true} {
		a, _, _ := two(t, "source\n  head\ndestination\n")
		b, err := NewReplica(Listing{UUID: "c", Name: "disk-c", ClusterSize: proofCluster, Lvols: []Lvol{{UUID: "c-head", Name: other, Size: proofSize}}}, other)
		require.NoError(t, err)
		_, err = CheckPrimary(a, []Replica{b}, false)
		if !refused {
			require.NoError(t, err)
			continue
		}
		requireRefusal(t, err, other+" on lvstore disk-c is named as a replica of another volume")
	}
}

// The image of another volume is no evidence.
func TestOtherVolumeIsNoImageEvidence(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/2\n      head\ndestination\n  image:base\n  image:other\n    mine own=m/1\n      head record=other\n")
	_, err := s.planFrom(sourceReplica, destinationReplica)
	requireRefusal(t, err, "backing image other")
	plan, err := s.planFrom(otherVolumes, destinationReplica)
	require.NoError(t, err, "what is overwritten does not tell")
	require.Equal(t, ImageBase("base"), plan.Base)
	require.Contains(t, plan.Warnings, "destination vol-1-r-4e5f6a7b on lvstore disk-b is named as a replica of another volume than source vol-9-r-0a1b2c3d on lvstore disk-a")

	s = parseFixture(t, "source\n  image:base\n  s1 own=a/2\n    head\ndestination\n  image:base\n    mine own=m/1\n      head record=base\n")
	_, err = s.planFrom(otherVolumes, destinationReplica)
	requireRefusal(t, err, "the volume's base is not known")

	hurt, _, _ := two(t, "source\n  image:base\n  s1 own=a/2\n    head\ndestination\n")
	b := renamed(parseFixture(t, "source\n  image:base\n    s1 own=a/2\n      head record=base\ndestination\n").source)
	b.Name = "disk-b"
	other, err := NewReplica(b, otherVolumes)
	require.NoError(t, err)
	_, err = PlanRepair(hurt, Base{}, other)
	requireRefusal(t, err, "replica vol-9-r-0a1b2c3d on lvstore disk-b is named as a replica of another volume than vol-1-r-0a1b2c3d on lvstore disk-a")
	v := AuditVolume(Base{}, hurt, other)
	require.Empty(t, v.Replicas[0].Violations, "the other one's image is not its own")
	require.Equal(t, []string{"vol-9-r-0a1b2c3d on lvstore disk-b is named as a replica of another volume than vol-1-r-0a1b2c3d on lvstore disk-a"}, v.Notices)
}

func TestDifferentVolumesByName(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		other bool
	}{
		{"vol-1-r-0a1b2c3d", "vol-1-r-4e5f6a7b", false},
		{"vol-1-r-0a1b2c3d", "vol-2-r-0a1b2c3d", true},
		{"vol-1-r-0a1b2c3d", "vol-1", true},
		{"a", "b", false}, // nothing tells
		{"my-r-r-1", "my-r-r-2", false},
	} {
		require.Equal(t, c.other, DifferentVolumes(c.a, c.b), "%s, %s", c.a, c.b)
		require.Equal(t, c.other, DifferentVolumes(c.b, c.a), "%s, %s", c.b, c.a)
	}
}
