// Package histories plays whole histories of volumes at random and compares them,
// after every step, with a model that is simple enough to be obviously right:
// what a user has written is what he reads.
//
// A history is drawn from a seed. Several volumes have replicas on several hosts in
// memory, of both flavours; they are written to, frozen, reverted, expanded, lost
// and rebuilt, while engines die, targets restart and hang, and calls fail. Time is
// virtual (testing/synctest), so that retries, back-off and deadlines cost none.
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
	fewHistories = 80
	longest      = 40 // steps
)

// TestHistories plays histories. One that fails prints its seed, the steps that it
// takes to fail, and how to play them again:
//
//	go test ./test/histories -run TestHistories -seed 123 -v
func TestHistories(t *testing.T) {
	seen := newTally()
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
		n = fewHistories
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

// played is a history that was played.
type played struct {
	seed  uint64
	steps []int
	bad   string // "": all was right
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

// stepsOf are the steps of a seed's history.
func stepsOf(seed uint64) []int {
	steps := make([]int, 10+int(mixed(seed)%uint64(longest-9)))
	for i := range steps {
		steps[i] = i
	}
	return steps
}

// play plays a history in a time of its own.
func play(t *testing.T, seed uint64, steps []int, seen *tally) played {
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

// live takes the steps, and says what is wrong.
func (w *world) live(steps []int) (wrong string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			wrong = r.what
		default:
			panic(fmt.Sprintf("seed %d, step %d: %v", w.seed, w.step, r))
		}
	}()
	w.check()
	for _, n := range steps {
		w.take(n)
	}
	w.conclude()
	return ""
}

// shrink leaves steps out for as long as the history fails without them.
func shrink(t *testing.T, p played) played {
	none := newTally()
	until := time.Now().Add(time.Minute)
	for size := len(p.steps) / 2; size > 0; {
		shorter := false
		for from := 0; from < len(p.steps) && time.Now().Before(until); {
			steps := slices.Delete(slices.Clone(p.steps), from, min(from+size, len(p.steps)))
			if tried := play(t, p.seed, steps, none); tried.bad != "" && kind(tried.bad) == kind(p.bad) {
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

// kind are the words of what is wrong, without what differs from one history to
// the next.
func kind(bad string) string {
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
