package scenario_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/scenario"
)

// large is a file with a chain of that many snapshots of one cluster.
func large(snapshots int) []byte {
	var text strings.Builder
	text.WriteString(strings.Replace(volume(`{name: vol-1, size: 4MiB, clusterSize: 4KiB}`), "source: {}\n", "source:\n  snapshots:\n    - {name: s0}\n", 1))
	for i := 1; i < snapshots; i++ {
		fmt.Fprintf(&text, "    - {name: s%d, parent: s%d, writes: [{offset: 0, length: 4KiB, seed: %d}]}\n", i, i-1, i)
	}
	return []byte(text.String())
}

// A long chain must not cause deep recursion.
func TestTwentyThousandSnapshots(t *testing.T) {
	const many = 20_000
	text := large(many)
	s, err := scenario.ParseBytes("f.yaml", "", text)
	require.NoError(t, err)
	w := buildOf(t, s)
	require.Len(t, w.source.store().Lvols, many+1)

	s.Source.Snapshots[0].Parent = "s19999"
	_, err = s.Build()
	requireProblem(t, err, `f.yaml:5: source.snapshots[0].parent: expected parents without a cycle, got "s0" -> "s19999" -> "s19998" -> "s19997" -> "s19996" -> …`)
}

func BenchmarkParse(b *testing.B) {
	text := large(10_000)
	for b.Loop() {
		if _, err := scenario.ParseBytes("f.yaml", "", text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	s, err := scenario.ParseBytes("f.yaml", "", large(10_000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Build(); err != nil {
			b.Fatal(err)
		}
	}
}
