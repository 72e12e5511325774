package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A rebuild takes a system snapshot of the head of one source, and the rebuilt replica
// gets it, too. The other replicas do not have it, which is no damage.
func TestPartialSystemSnapshotIsNoDamage(t *testing.T) {
	const (
		tree   = "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n"
		frozen = tree + "        rebuild-01234567 own=f/3 system\n"
		rest   = tree + "        head record=base"
	)
	frozenHead := frozen + "          head record=base"
	notice := "only A, B has system snapshot rebuild-01234567, which a rebuild took of the head; on C its clusters are part of its clone"
	for what, c := range map[string]struct {
		first, second, third string
		want                 string // "": no difference
	}{
		"right after the rebuild":                     {frozenHead, frozenHead, rest + " own=?/3", ""},
		"written to since, at other places":           {frozenHead + " own=?/2", frozenHead + " own=?/2", rest + " own=?/5", ""},
		"written to since, at the same places":        {frozenHead + " own=?/2", frozenHead + " own=?/2", rest + " own=?/3", ""},
		"all of it written to since":                  {frozenHead + " own=?/8", frozenHead + " own=?/8", rest + " own=?/8", ""},
		"the third one lost a cluster":                {frozenHead, frozenHead, rest + " own=?/2", "head: clusters: 0 clusters of its own and 3 in rebuild-01234567: A, B; 2 clusters of its own: C"},
		"the third one lost all":                      {frozenHead, frozenHead, rest, "head: clusters: 0 clusters of its own and 3 in rebuild-01234567: A, B; 0 clusters of its own: C"},
		"the third one has a cluster more":            {frozenHead, frozenHead, rest + " own=?/4", "head: clusters: "},
		"more than can be":                            {frozenHead + " own=?/2", frozenHead + " own=?/2", rest + " own=?/6", "head: clusters: 2 clusters of its own and 3 in rebuild-01234567: A, B; 6 clusters of its own: C"},
		"the second one lost a cluster":               {frozenHead + " own=?/2", frozenHead + " own=?/1", rest + " own=?/4", "head: clusters: 2 clusters of its own and 3 in rebuild-01234567: A; 1 cluster of its own and 3 in rebuild-01234567: B; 4 clusters of its own: C"},
		"another parent":                              {frozenHead, frozenHead, "  image:base\n    s1 own=a/2 at=1\n      s2 own=b/1 at=2\n      head own=?/3 record=base", "head: parent: on s2: A, B; on s1: C"},
		"another size":                                {frozenHead, frozenHead, rest + " own=?/3 size=9", "head: size: "},
		"the system snapshot itself differs":          {frozenHead, strings.Replace(frozenHead, "own=f/3", "own=g/3", 1), rest + " own=?/3", "rebuild-01234567: data: "},
		"a user's snapshot was taken since":           {frozen + "          s3 own=g/2 at=3\n            head record=base", frozen + "          s3 own=g/2 at=3\n            head record=base", tree + "        s3 own=h/4 at=3\n          head record=base", ""},
		"and lost a cluster":                          {frozen + "          s3 own=g/2 at=3\n            head record=base", frozen + "          s3 own=g/2 at=3\n            head record=base", tree + "        s3 own=h/2 at=3\n          head record=base", "s3: clusters: 2 clusters of its own and 3 in rebuild-01234567: A, B; 2 clusters of its own: C"},
		"and it has other data in one of those alike": {frozen + "          s3 own=g/2 at=3\n            head record=base", frozen + "          s3 own=x/2 at=3\n            head record=base", tree + "        s3 own=h/4 at=3\n          head record=base", "s3: data: "},
	} {
		t.Run(what, func(t *testing.T) {
			v := AuditVolume(Base{}, replicasOf(t, c.first+"\n", c.second+"\n", c.third+"\n")...)
			for i, a := range v.Replicas {
				require.Empty(t, a.Violations, v.Names[i])
			}
			names := strings.NewReplacer("vol-1-r-4e5f6a7b on disk-a", "A", "vol-1-r-4e5f6a7b on disk-b", "B", "vol-1-r-4e5f6a7b on disk-c", "C")
			var reported []string
			for _, d := range v.Differences {
				reported = append(reported, names.Replace(d.String()))
			}
			require.Equal(t, []string{notice}, []string{names.Replace(strings.Join(v.Notices, "|"))})
			if c.want == "" {
				require.Empty(t, reported)
				require.False(t, v.Wrong())
				return
			}
			require.Len(t, reported, 1, strings.Join(reported, "\n"))
			require.Contains(t, reported[0], c.want)
		})
	}
}

// Each rebuild takes a system snapshot of its primary's head.
func TestSeveralPartialSystemSnapshots(t *testing.T) {
	const tree = "  s1 own=a/2 at=1\n"
	v := AuditVolume(NoBase(), replicasOf(t,
		tree+"    rebuild-00000001 own=f/3 system\n      rebuild-00000002 own=g/1 system\n        head own=?/1\n",
		tree+"    rebuild-00000001 own=f/3 system\n      head own=?/2\n",
		tree+"    head own=?/4\n",
	)...)
	require.Empty(t, v.Differences)
	require.Len(t, v.Notices, 2)
	v = AuditVolume(NoBase(), replicasOf(t,
		tree+"    rebuild-00000001 own=f/3 system\n      rebuild-00000002 own=g/1 system\n        head own=?/1\n",
		tree+"    rebuild-00000001 own=f/3 system\n      head own=?/2\n",
		tree+"    head own=?/6\n",
	)...)
	require.Len(t, v.Differences, 1)
}

// A system snapshot that all replicas have is compared like any other.
func TestSharedSystemSnapshotIsCompared(t *testing.T) {
	const text = "  s1 own=a/2 at=1\n    rebuild-00000001 own=f/3 system\n      head\n"
	v := AuditVolume(NoBase(), replicasOf(t, text, text)...)
	require.Empty(t, v.Differences)
	require.Empty(t, v.Notices)
	v = AuditVolume(NoBase(), replicasOf(t, text, strings.Replace(text, "f/3", "f/2", 1))...)
	require.Len(t, v.Differences, 1)
}
