package app_test

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
)

// atOnce is how many copies go on at once in the tables of faults. With one the n-th
// call is the same each time; the default is what users run.
var atOnce = []int{1, app.DefaultParallel}

// underDetector leaves out rebuilds that copy one after the other under the race detector:
// make test plays them without it.
func underDetector(parallel []int) []int {
	if raceDetector {
		return parallel[1:]
	}
	return parallel
}

// trial is a rebuild in a world, or several one after the other, and the faults that
// befall each.
type trial struct {
	world    faultScenario
	flavours flavours
	verify   verification
	parallel int
	runs     [][]injection
}

// place is where a trial is played.
func (p trial) place() string {
	return fmt.Sprintf("%s/%s/%s/%d", p.world.name, p.flavours, p.verify, p.parallel)
}

// String is what a failure prints.
func (p trial) String() string {
	runs := make([]string, len(p.runs))
	for i, injections := range p.runs {
		words := make([]string, len(injections))
		for j, s := range injections {
			words[j] = s.String()
		}
		runs[i] = strings.Join(words, "; ")
	}
	return p.place() + ": " + strings.Join(runs, ", then ")
}

// with is the trial with one fault.
func (p trial) with(s injection) trial {
	p.runs = [][]injection{{s}}
	return p
}

// isDrawn picks one trial in so many, always the same.
func (p trial) isDrawn(oneIn uint32) bool {
	sum := fnv.New32a()
	sum.Write([]byte(p.String()))
	return sum.Sum32()%oneIn == 0
}

// replayed is a trial as a failure prints it.
func replayed(t *testing.T, text string) trial {
	t.Helper()
	where, what, ok := strings.Cut(text, ": ")
	place := strings.Split(where, "/")
	require.True(t, ok && len(place) == 4, "%q: expected WORLD/FLAVOURS/VERIFICATION/PARALLEL: SIDE CALL N KIND [lasting]; …", text)
	parallel, err := strconv.Atoi(place[3])
	require.NoError(t, err)
	p := trial{verify: verification(place[2]), parallel: parallel}
	for run := range strings.SplitSeq(what, ", then ") {
		injections, err := parseInjections(run)
		require.NoError(t, err)
		p.runs = append(p.runs, injections)
	}
	for _, w := range faultScenarios {
		for _, f := range w.flavours() {
			if w.name == place[0] && f.String() == place[1] {
				p.world, p.flavours = w, f
				return p
			}
		}
	}
	t.Fatalf("%q: there is no %s", text, where)
	return trial{}
}
