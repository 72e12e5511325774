// Package histories plays random histories of volumes and compares them, after every
// step, with a simple model: a user reads the bytes that were written.
//
// A history is drawn from a seed. Several volumes have replicas on several in-memory
// hosts of both flavours. They are written to, snapshotted, reverted, expanded, lost and
// rebuilt, while engines crash, targets restart and hang, and calls fail. Time is virtual
// (testing/synctest), so that retries, back-off and deadlines take none.
package histories

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play the history of this seed alone; 0: many, from -first on")
	stepsFlag = flag.String("steps", "", "with -seed: only these steps of it, as a failure prints them")
	histories = flag.Int("histories", 0, "how many histories are played; 0: a few")
	firstFlag = flag.Uint64("first", 1, "the seed of the first one")
	callsFlag = flag.Bool("calls", false, "with -seed: print the calls of the step that fails, too")
)

const (
	defaultHistories = 80
	maxSteps         = 40 // steps
)

// TestHistories plays histories. A failure prints the seed, the steps that reproduce it,
// and the command to play them again:
//
//	go test ./test/histories -run TestHistories -seed 123 -v
func TestHistories(t *testing.T) {
	seen := newCounters()
	if *seedFlag != 0 {
		steps := stepsOf(*seedFlag)
		if *stepsFlag != "" {
			steps = parseSteps(t, *stepsFlag)
		}
		p := play(t, *seedFlag, steps, seen)
		t.Logf("\n%s", p.log(*callsFlag))
		if p.bad != "" {
			t.Fatal(p.bad)
		}
		return
	}
	n := *histories
	if n == 0 {
		n = defaultHistories
	}
	steps := 0
	for seed := *firstFlag; seed < *firstFlag+uint64(n); seed++ {
		all := stepsOf(seed)
		steps += len(all)
		if p := play(t, seed, all, seen); p.bad != "" {
			p = shrink(t, p)
			t.Fatalf("%s\n%s\nplay it again: go test ./test/histories -run TestHistories -v -calls -seed %d -steps %s",
				p.bad, p.log(false), p.seed, join(p.steps))
		}
	}
	t.Logf("%d histories from seed %d on, %d steps; %s", n, *firstFlag, steps, seen)
}

// played is the result of a history.
type played struct {
	seed  uint64
	steps []int
	bad   string // the failure; "": none
	lines []string
	calls []string
}

func (p played) log(calls bool) string {
	lines := p.lines
	if calls {
		lines = slices.Concat(lines, []string{"calls of the last step:"}, p.calls)
	}
	return strings.Join(lines, "\n")
}

// stepsOf returns the steps of a seed's history.
func stepsOf(seed uint64) []int {
	steps := make([]int, 10+int(mixBits(seed)%uint64(maxSteps-9)))
	for i := range steps {
		steps[i] = i
	}
	return steps
}

// play plays a history in virtual time.
func play(t *testing.T, seed uint64, steps []int, seen *counters) played {
	p := played{seed: seed, steps: steps}
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, seen)
		p.bad = w.live(steps)
		w.end()
		if p.bad == "" {
			p.bad = w.bad
		}
		p.lines, p.calls = w.log, w.trace
	})
	return p
}

// live plays the steps and returns the first failure.
func (w *world) live(steps []int) string {
	return w.attempt(func() {
		w.check()
		for _, n := range steps {
			w.runStep(n)
		}
		w.restoreAll()
	})
}

// attempt returns the failure of do.
func (w *world) attempt(do func()) (wrong string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			wrong = r.text
		default:
			panic(fmt.Sprintf("seed %d, step %d: %v", w.seed, w.step, r))
		}
	}()
	do()
	return ""
}

// shrink removes steps that the failure does not need.
func shrink(t *testing.T, p played) played {
	none := newCounters()
	until := time.Now().Add(time.Minute)
	for size := len(p.steps) / 2; size > 0; {
		shorter := false
		for from := 0; from < len(p.steps) && time.Now().Before(until); {
			steps := slices.Delete(slices.Clone(p.steps), from, min(from+size, len(p.steps)))
			if tried := play(t, p.seed, steps, none); tried.bad != "" && signature(tried.bad) == signature(p.bad) {
				p, shorter = tried, true
				continue
			}
			from += size
		}
		if !shorter {
			size /= 2
		}
	}
	return p
}

// signature is the text of a failure without the details that differ between histories.
func signature(bad string) string {
	words := strings.Fields(bad)
	return strings.Join(slices.DeleteFunc(words[:min(len(words), 12)], func(w string) bool { return strings.ContainsAny(w, "0123456789") }), " ")
}

func join(steps []int) string {
	words := make([]string, len(steps))
	for i, n := range steps {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}

func parseSteps(t *testing.T, text string) []int {
	var steps []int
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("-steps %s: expected numbers with commas between them", text)
		}
		steps = append(steps, n)
	}
	return steps
}
