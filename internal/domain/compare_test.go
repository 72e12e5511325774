package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// replicasOf builds replicas of one volume, each on a store of its own: a, b, c.
func replicasOf(t *testing.T, drawn ...string) []Replica {
	t.Helper()
	var replicas []Replica
	for i, text := range drawn {
		store := fixtureStore(string(rune('a' + i)))
		if rest, upstream := strings.CutPrefix(text, "upstream\n"); upstream {
			store.Proves, store.Records, text = false, false, rest
		}
		fillStore(t, &store, destinationReplica, text)
		r, err := NewReplica(store, destinationReplica)
		require.NoError(t, err)
		replicas = append(replicas, r)
	}
	return replicas
}

const equalReplica = "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n"

func TestEachDifferenceReportedOnce(t *testing.T) {
	for what, c := range map[string]struct {
		third string
		want  string
	}{
		"nothing":              {equalReplica, ""},
		"a snapshot less":      {"  image:base\n    s1 own=a/2 at=1\n      head record=base\n", "s2: missing: there: A, B; missing: C|head: parent: on s2: A, B; on s1: C"},
		"a snapshot more":      {"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n      s3\n", "s3: missing: missing: A, B; there: C"},
		"another size":         {"  image:base\n    s1 own=a/2 at=1 size=7\n      s2 own=b/1 at=2\n        head record=base\n", "s1: size: 8388608 bytes: A, B; 7340032 bytes: C"},
		"more clusters":        {"  image:base\n    s1 own=x/3 at=1\n      s2 own=b/1 at=2\n        head record=base\n", "s1: clusters: 2 clusters of its own: A, B; 3 clusters of its own: C"},
		"another map":          {"  image:base\n    s1 own=x,a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", "s1: data: map "},
		"another checksum":     {"  image:base\n    s1 own=a,x/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", "s1: data: map "},
		"unproven data":        {"  image:base\n    s1 own=?/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", ""},
		"another time":         {"  image:base\n    s1 own=a/2 at=9\n      s2 own=b/1 at=2\n        head record=base\n", "s1: attributes: created at 2026-01-01T00:01:00Z by a user: A, B; created at 2026-01-01T00:09:00Z by a user: C"},
		"another creator":      {"  image:base\n    s1 own=a/2 at=1 system\n      s2 own=b/1 at=2\n        head record=base\n", "by the system: C"},
		"no records":           {"upstream\n  image:base\n    s1 own=a/2\n      s2 own=b/1\n        head\n", ""},
		"another parent":       {"  image:base\n    s2 own=b/1 at=2\n      s1 own=a/2 at=1\n        head record=base\n", "head: parent: on s2: A, B; on s1: C|s1: parent: the ancestor: A, B; on s2: C|s2: parent: on s1: A, B; the ancestor: C"},
		"a larger head":        {"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head size=9 record=base\n", "head: size: 8388608 bytes: A, B; 9437184 bytes: C"},
		"a head with data":     {"  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head own=?/1 record=base\n", "head: clusters: 0 clusters of its own: A, B; 1 cluster of its own: C"},
		"another image":        {"  image:other\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=other\n", "backing-image: image: backing image base: A, B; backing image other: C"},
		"an image that is not": {"  image:base uuid=x\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=base\n", "backing-image:base: image: UUID uuid-base, SHA-512 sha-base, 4194304 bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			v := AuditVolume(Base{}, replicasOf(t, equalReplica, equalReplica, c.third)...)
			for i, a := range v.Replicas {
				require.Empty(t, a.Violations, v.Names[i])
			}
			names := strings.NewReplacer("vol-1-r-4e5f6a7b on disk-a", "A", "vol-1-r-4e5f6a7b on disk-b", "B", "vol-1-r-4e5f6a7b on disk-c", "C")
			var reported []string
			for _, d := range v.Differences {
				reported = append(reported, names.Replace(d.String()))
			}
			if c.want == "" {
				require.Empty(t, reported)
				require.False(t, v.Wrong())
				return
			}
			require.True(t, v.Wrong())
			wants := strings.Split(c.want, "|")
			require.Len(t, reported, len(wants), strings.Join(reported, "\n"))
			for _, want := range wants {
				require.Contains(t, strings.Join(reported, "\n"), want)
			}
		})
	}
}

// TestField_10909_HealthyReplicaExposesHurtOne: Longhorn's heads have no record, so a
// single hurt replica looks like one of a volume without an image.
func TestField_10909_HealthyReplicaExposesHurtOne(t *testing.T) {
	hurt := "  image:base\n  s1 own=a/2 at=1\n    s2 own=b/1 at=2\n      head\n"
	alone := AuditVolume(Base{}, replicasOf(t, hurt)...)
	require.False(t, alone.Wrong())
	require.Contains(t, alone.Replicas[0].Notices[0], "is not known")

	v := AuditVolume(Base{}, replicasOf(t, strings.ReplaceAll(equalReplica, " record=base", ""), hurt)...)
	require.Equal(t, ImageBase("base"), v.Base)
	require.Empty(t, v.Replicas[0].Violations)
	require.Len(t, v.Replicas[1].Violations, 1)
	require.Equal(t, RuleAncestorParent, v.Replicas[1].Violations[0].Rule)
	require.True(t, v.Replicas[1].Violations[0].Repairable)
	require.Empty(t, v.Differences, "told once, not again as a difference")
}

func TestViolationsNotRepeatedAsDifferences(t *testing.T) {
	for what, broken := range map[string]string{
		"a loose snapshot": "  image:base\n    s1 own=a/2 at=1\n  s2 own=b/1 at=2\n    head record=base\n",
		"a foreign parent": "  image:base\n    s1 own=a/2 at=1\n  snap:vol-7-snap-a\n    s2 own=b/1 at=2\n      head record=base\n",
		"no head":          "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n",
		"a degraded head":  "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head degraded\n",
		"a loose head":     "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n  head record=base\n",
	} {
		t.Run(what, func(t *testing.T) {
			v := AuditVolume(Base{}, replicasOf(t, equalReplica, broken)...)
			require.NotEmpty(t, v.Replicas[1].Violations)
			require.Empty(t, v.Differences)
		})
	}
}

func TestEqualReplicaNamesGetUUIDs(t *testing.T) {
	replicas := replicasOf(t, equalReplica, equalReplica)
	replicas[0].Store.Name, replicas[1].Store.Name = "disk", "disk"
	v := AuditVolume(Base{}, replicas...)
	require.Equal(t, []string{"vol-1-r-4e5f6a7b on disk (store-a)", "vol-1-r-4e5f6a7b on disk (store-b)"}, v.Names)
}

func TestContradictoryReplicaDoesNotAffectOthers(t *testing.T) {
	v := AuditVolume(Base{}, replicasOf(t, equalReplica, "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n        head record=other\n")...)
	require.Equal(t, ImageBase("base"), v.Base)
	require.Empty(t, v.Replicas[0].Violations)
	require.Len(t, v.Replicas[1].Violations, 1)
	require.Contains(t, v.Replicas[1].Violations[0].Detail, "the record on head vol-1-r-4e5f6a7b says backing image other")
}
