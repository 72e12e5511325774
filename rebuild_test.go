package rebuild_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
)

var (
	_ rebuild.Host     = (*memhost.Host)(nil)
	_ rebuild.Prover   = (*memhost.Host)(nil)
	_ rebuild.Recorder = (*memhost.Host)(nil)
)

// What the package comment shows is run, as Example, and stays short.
func TestThePackageCommentShowsWhatTheExampleRuns(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, use, ok := strings.Cut(string(doc), "# Use\n//\n")
	require.True(t, ok)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, run, ok := strings.Cut(string(examples), "\nfunc Example() {\n")
	require.True(t, ok)

	lines := 0
	for line := range strings.Lines(use) {
		line, shown := strings.CutPrefix(line, "//\t")
		if !shown {
			break
		}
		lines++
		_, run, ok = strings.Cut(run, "\t"+line)
		require.True(t, ok, "Example does not run, in this order: %s", line)
	}
	require.NotZero(t, lines)
	require.LessOrEqual(t, lines, 15)
}

func TestAFunctionObserves(t *testing.T) {
	var seen []rebuild.EventKind
	var o rebuild.Observer = rebuild.ObserverFunc(func(e rebuild.Event) { seen = append(seen, e.Kind) })
	o.Observe(rebuild.Event{Kind: rebuild.EventBegan})
	require.Equal(t, []rebuild.EventKind{rebuild.EventBegan}, seen)
}
