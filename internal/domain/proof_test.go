package domain

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The proof of this project: whatever is left of a lost replica, whatever
// order a plan is carried out in, and wherever a crash stops it, what is there
// then is safe, and planning again from there arrives.

var (
	soak    = flag.Bool("soak", false, "play the whole proof, not a part of it (takes hours)")
	soakFor = flag.Duration("soak-for", 0, "draw no more random worlds after that time; it is told how many there were (0: draw them all)")
)

// prover plays worlds and remembers what it has seen: states that differ by
// the names of lvols in flight alone are one.
type prover struct {
	t        *testing.T
	world    world
	worldKey string
	seen     map[[sha256.Size]byte]bool
	pending  []Listing

	starts, refused, states, plays int
	moved                          int // plans that graft entry points onto copies
}

// prove plays everything that can happen from one world on.
func (p *prover) prove(w world) {
	p.world = w
	p.starts++
	p.pending = p.pending[:0]
	sourceKey := draw(w.source)
	p.worldKey = fmt.Sprint(w.upstream, w.requested, w.options.AcceptHurtSource, "\n", sourceKey, "\n")
	if !p.push(w.destination) {
		return
	}
	for first := true; len(p.pending) > 0; first = false {
		state := p.pending[len(p.pending)-1]
		p.pending = p.pending[:len(p.pending)-1]
		plan, err := p.plan(state)
		if refusal := (*Refusal)(nil); first && errors.As(err, &refusal) {
			p.refused++ // what may be refused is refused at the start, not after a crash
			continue
		}
		if err != nil {
			p.t.Fatalf("planning again after a crash: %v, from\n%s", err, draw(state))
		}
		if p.world.outside {
			p.t.Fatalf("planned from a source whose bytes are not all there:\n%s", draw(p.world.source))
		}
		p.playEveryOrder(state, plan)
	}
}

// push remembers a state that a crash may leave, to be planned from.
func (p *prover) push(s Listing) bool {
	s, key := canonical(collapse(s))
	sum := sha256.Sum256([]byte(p.worldKey + key))
	if p.seen[sum] {
		return false
	}
	p.seen[sum] = true
	p.states++
	p.pending = append(p.pending, s)
	return true
}

func (p *prover) plan(state Listing) (Plan, error) {
	store, name := p.world.seen(p.world.source), sourceReplica
	if p.world.otherVolume {
		store, name = renamed(store), otherVolumes
	}
	source, err := NewReplica(store, name)
	if err != nil {
		return Plan{}, err
	}
	destination, err := NewReplica(p.world.seen(state), destinationReplica)
	if err != nil {
		return Plan{}, err
	}
	plan, err := PlanRebuild(source, destination, p.world.requested, p.world.options)
	if plan.Replaces() {
		p.moved++
	}
	return plan, err
}

// playEveryOrder visits every set of operations that can be done at some
// moment, by every way that leads to it.
func (p *prover) playEveryOrder(start Listing, plan Plan) {
	require.Less(p.t, len(plan.Operations), 64)
	whole := uint64(1)<<len(plan.Operations) - 1
	reached := map[uint64]Listing{0: start}
	type moment struct {
		done  uint64
		state Listing
	}
	for todo := []moment{{0, start}}; len(todo) > 0; {
		now := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		p.plays++
		p.checkMoment(start, now.state, plan, now.done)
		if now.done == whole {
			p.checkGoal(now.state)
			continue
		}
		p.push(now.state)
		for i, o := range plan.Operations {
			if !ready(plan, now.done, i) {
				continue
			}
			for _, left := range interrupted(now.state, plan, o) {
				p.push(left)
			}
			after, err := Apply(now.state, p.world.source, destinationReplica, o)
			if err != nil {
				p.t.Fatalf("%v\n%s\nplan:\n%s", err, draw(now.state), drawPlan(plan))
			}
			done := now.done | 1<<i
			if before, again := reached[done]; again {
				if !sameLvols(before, after) {
					p.t.Fatalf("the order of operations makes a difference:\n%s\n\nor\n%s", draw(before), draw(after))
				}
				continue
			}
			reached[done] = after
			todo = append(todo, moment{done, after})
		}
	}
}

// ready reports whether an operation may be done now.
func ready(plan Plan, done uint64, i int) bool {
	if done&(1<<i) != 0 {
		return false
	}
	for _, before := range plan.Operations[i].After {
		if done&(1<<before) == 0 {
			return false
		}
	}
	for j, other := range plan.Operations {
		if other.Stage < plan.Operations[i].Stage && done&(1<<j) == 0 {
			return false
		}
	}
	return true
}

// checkMoment looks at the rules in the middle of a rebuild.
func (p *prover) checkMoment(start, now Listing, plan Plan, done uint64) {
	before, after := byUUID(start), byUUID(now)
	// Rule 5: what is somebody else's is as it was, and reads as it did.
	for _, l := range start.Lvols {
		if _, ours := readingFor(l, destinationReplica); ours {
			continue
		}
		is := after[l.UUID]
		reads := view(after, is)
		right, isClone := p.rightCloneView(after, l)
		if _, _, isEntryPoint := entryPointOf(l.Name); isEntryPoint && isClone {
			is.Parent = l.Parent
		}
		if is != l || !slices.Equal(view(before, l), reads) && !(isClone && slices.Equal(right, reads)) {
			p.t.Fatalf("foreign lvol %s changed, or what it reads:\n%s\n\nand then\n%s", l.Name, draw(start), draw(now))
		}
	}
	// Rule 4: what this run has sealed is the source's, and hangs where it should.
	for i, o := range plan.Operations {
		if done&(1<<i) == 0 || o.Verb != VerbSeal || o.Target.IsImage() {
			continue
		}
		if o.Target.IsEntryPoint() {
			if made := after[uuidOf(o.Target)]; after[made.Parent].Name != SnapshotLvolName(proofSourceVolumeHere, "daily") || made.Own.Count > 0 {
				p.t.Fatalf("%s does not read its snapshot:\n%s", o.Name, draw(now))
			}
			continue
		}
		if !slices.Equal(p.rightView(o.Source), view(after, after[uuidOf(o.Target)])) {
			p.t.Fatalf("%s was sealed with another view:\n%s", o.Name, draw(now))
		}
	}
	// Rule 9: what has the image's name is the image, all of it.
	for _, l := range now.Lvols {
		if l.Name == ImageLvolName(proofImage, now.UUID) && (!l.ReadOnly || l.Parent != "" || l.Own != imageLvol(now).Own) {
			p.t.Fatalf("%s is not the image:\n%s", l.Name, draw(now))
		}
	}
	// A replica with a head is whole: the old one stands while nothing has
	// changed, a new one on a replica with nothing wrong.
	for _, l := range now.Lvols {
		if l.Name != destinationReplica {
			continue
		}
		if _, old := before[l.UUID]; old {
			for _, o := range plan.Operations {
				if done != 0 && o.Verb != VerbRecord {
					p.t.Fatalf("%s happened under the old head", o.Verb)
				}
			}
			continue
		}
		if wrong := p.verify(now); len(wrong) > 0 {
			p.t.Fatalf("a head stands on a replica that is not whole: %v\n%s", wrong, draw(now))
		}
	}
}

// rightCloneView is what a lvol should read that is an entry point on a snapshot of the
// destination, or reads through one.
func (p *prover) rightCloneView(now map[string]Lvol, l Lvol) (right []Clusters, isClone bool) {
	var own []Clusters
	for ; l.UUID != ""; l = now[l.Parent] {
		if l.Own.Count > 0 {
			own = append([]Clusters{l.Own}, own...)
		}
		replica, snapshot, ok := entryPointOf(l.Name)
		if !ok || replica != destinationReplica || !l.ReadOnly {
			continue
		}
		for _, s := range p.world.source.Lvols {
			if s.Name == SnapshotLvolName(sourceReplica, snapshot) {
				return append(p.rightView(originOf(s)), own...), true
			}
		}
	}
	return nil, false
}

// checkGoal looks at the rules at the end.
func (p *prover) checkGoal(now Listing) {
	if wrong := p.verify(now); len(wrong) > 0 {
		p.t.Fatalf("arrived where it is wrong: %v\n%s", wrong, draw(now))
	}
	lvols := byUUID(now)
	for _, l := range now.Lvols {
		if right, isClone := p.rightCloneView(lvols, l); isClone && p.rightlyNamed(lvols, l) && !slices.Equal(right, view(lvols, l)) {
			p.t.Fatalf("%s does not read what it should:\n%s", l.Name, draw(now))
		}
		reading, ours := readingFor(l, destinationReplica)
		if !ours {
			continue
		}
		if l.External != "" || l.Degraded {
			p.t.Fatalf("%s does not have all its bytes on the store\n%s", l.Name, draw(now))
		}
		if reading.role == roleInFlight {
			p.t.Fatalf("left in flight: %s\n%s", l.Name, draw(now))
		}
		// Rule 1, said without the domain's own words.
		want := ""
		switch {
		case p.world.clones:
			want = "vol-9-r-0000000b-clone-ep-daily"
		case p.world.requested != NoBase():
			want = "bi-base-disk-store-b"
		}
		if is := lvols[l.Parent].Name; reading.snapshot == "s0" && is != want {
			p.t.Fatalf("the ancestor's parent is %q instead of %q", is, want)
		}
	}
	// On hosts that prove, the goal is a place to stay.
	if !p.world.upstream {
		plan, err := p.plan(now)
		require.NoError(p.t, err)
		if len(plan.Operations) > 0 {
			p.t.Fatalf("planned again at the goal:\n%s", drawPlan(plan))
		}
	}
}

// rightlyNamed reports whether an entry point, or the one that an lvol reads through, is on
// the snapshot that it is named after. The plan leaves others alone.
func (p *prover) rightlyNamed(all map[string]Lvol, l Lvol) bool {
	for ; l.UUID != ""; l = all[l.Parent] {
		if replica, snapshot, ok := entryPointOf(l.Name); ok && replica == destinationReplica && l.ReadOnly {
			return all[l.Parent].Name == SnapshotLvolName(replica, snapshot)
		}
	}
	return false
}

func (p *prover) verify(now Listing) []Violation {
	source, err := NewReplica(p.world.source, sourceReplica)
	require.NoError(p.t, err)
	if p.world.upstream {
		now.Records = false
	}
	destination, err := NewReplica(now, destinationReplica)
	require.NoError(p.t, err)
	violations, err := Verify(source, destination, p.world.requested)
	require.NoError(p.t, err)
	return violations
}

// view is what a reader of an lvol sees: the own clusters from the root to it,
// without lvols that have none.
func view(all map[string]Lvol, l Lvol) []Clusters {
	var seen []Clusters
	for ; l.UUID != ""; l = all[l.Parent] {
		if l.Own.Count > 0 {
			seen = append([]Clusters{l.Own}, seen...)
		}
		if l.External != "" || l.Degraded { // other bytes than any lvol has
			seen = append([]Clusters{{Map: l.External, Checksum: "outside"}}, seen...)
		}
	}
	return seen
}

// rightView is what the copy of a source's snapshot has to show: the source's
// own clusters, over the image even if the source has lost it.
func (p *prover) rightView(source Origin) []Clusters {
	all := byUUID(p.world.source)
	right := view(all, all[source.UUID]) // what the plan saw of it may lack the proof
	switch {
	case !p.world.options.AcceptHurtSource:
	case p.world.clones:
		right = append(view(all, all["daily"]), right...)
	default:
		right = append([]Clusters{imageLvol(p.world.source).Own}, right...)
	}
	return right
}

func byUUID(s Listing) map[string]Lvol {
	all := make(map[string]Lvol, len(s.Lvols))
	for _, l := range s.Lvols {
		all[l.UUID] = l
	}
	return all
}

// collapse drops what is in flight and has a twin on the same parent. A run
// that is stopped early again and again leaves one more helper each time, and
// without this there would be no end of states; one of them stands for all.
func collapse(s Listing) Listing {
	inFlightOn := make(map[string]bool, len(s.Lvols))
	siblings := false
	for i := range s.Lvols {
		if _, inFlight := ReplicaInFlight(s.Lvols[i].Name); inFlight {
			siblings = siblings || inFlightOn[s.Lvols[i].Parent]
			inFlightOn[s.Lvols[i].Parent] = true
		}
	}
	if !siblings {
		return s
	}
	children := make(map[string][]Lvol)
	for _, l := range s.Lvols {
		children[l.Parent] = append(children[l.Parent], l)
	}
	var shape func(l Lvol) string // of it and all that hangs on it; "" if not all of that is in flight
	shape = func(l Lvol) string {
		if _, inFlight := ReplicaInFlight(l.Name); !inFlight {
			return ""
		}
		shapes := []string{}
		for _, child := range children[l.UUID] {
			of := shape(child)
			if of == "" {
				return ""
			}
			shapes = append(shapes, of)
		}
		sort.Strings(shapes)
		return fmt.Sprint(IsImageInFlight(l.Name), l.Own, l.Size, l.ReadOnly, l.External, l.Degraded, shapes)
	}
	counterparts := make(map[string]int)
	dropped := make(map[string]bool)
	for _, l := range s.Lvols {
		if of := shape(l); of != "" {
			if counterparts[l.Parent+of]++; counterparts[l.Parent+of] > 1 {
				dropped[l.UUID] = true
			}
		}
	}
	kept := make([]Lvol, 0, len(s.Lvols))
	all := byUUID(s)
	for _, l := range s.Lvols {
		gone := false
		for up := l; up.UUID != ""; up = all[up.Parent] {
			gone = gone || dropped[up.UUID]
		}
		if !gone {
			kept = append(kept, l)
		}
	}
	s.Lvols = kept
	return s
}

// canonical gives lvols in flight, and all UUIDs, names that depend on what
// they are alone, and returns a key that is equal for equal states.
func canonical(s Listing) (Listing, string) {
	lvols := append([]Lvol(nil), s.Lvols...)
	s.Lvols = lvols
	parents := parentsOf(lvols)
	children := make([]int, len(lvols))
	for _, parent := range parents {
		if parent >= 0 {
			children[parent]++
		}
	}
	own := make([]string, len(lvols))
	var line []byte
	for i := range lvols {
		line = appendOwn(line[:0], &lvols[i], children[i])
		own[i] = string(line)
	}
	type signed struct {
		lvol Lvol
		sign string // its own line, and those of its ancestors
	}
	sorted := make([]signed, len(lvols))
	for i, l := range lvols {
		line = line[:0]
		for up := i; up >= 0; up = parents[up] {
			line = append(append(line, own[up]...), '<')
		}
		sorted[i] = signed{l, string(line)}
	}
	slices.SortStableFunc(sorted, func(a, b signed) int { return strings.Compare(a.sign, b.sign) })
	renamed := make(map[string]string, len(lvols))
	var key strings.Builder
	for i, it := range sorted {
		lvols[i] = it.lvol
		renamed[it.lvol.UUID] = "u" + strconv.Itoa(i)
		key.WriteString(it.sign)
		key.WriteByte('\n')
	}
	for i := range lvols {
		l := &lvols[i]
		l.UUID, l.Parent = renamed[l.UUID], renamed[l.Parent]
		switch id := fmt.Sprintf("%08x", i); {
		case IsImageInFlight(l.Name):
			l.Name = ImageInFlightLvolName(id)
		case strings.HasPrefix(l.Name, destinationReplica+inFlightSuffix):
			l.Name = InFlightLvolName(destinationReplica, id)
		}
	}
	return s, key.String()
}

// appendOwn appends everything that tells an lvol from others, but UUIDs.
func appendOwn(line []byte, l *Lvol, children int) []byte {
	name := l.Name
	if _, inFlight := ReplicaInFlight(name); inFlight {
		name = imageInFlight
	}
	line = append(append(line, name...), ' ')
	line = append(append(line, l.Own.Map...), ' ')
	line = append(strconv.AppendInt(line, l.Attributes.CreatedAt.Unix(), 16), ' ')
	line = append(strconv.AppendUint(line, l.Size, 16), ' ')
	line = append(strconv.AppendBool(line, l.ReadOnly), ' ')
	line = append(append(line, l.Record...), ' ')
	line = append(strconv.AppendInt(line, int64(children), 10), ' ')
	line = append(append(line, l.External...), ' ')
	return strconv.AppendBool(line, l.Degraded)
}

// parentsOf are the positions of what the lvols hang on; -1: on nothing that is listed.
func parentsOf(lvols []Lvol) []int {
	parents := make([]int, len(lvols))
	for i, l := range lvols {
		parents[i] = -1
		if l.Parent != "" {
			parents[i] = slices.IndexFunc(lvols, func(other Lvol) bool { return other.UUID == l.Parent })
		}
	}
	return parents
}

// sameLvols compares states that were reached by two ways.
func sameLvols(a, b Listing) bool {
	all := byUUID(b)
	for _, l := range a.Lvols {
		if all[l.UUID] != l {
			return false
		}
	}
	return len(a.Lvols) == len(b.Lvols)
}

// draw shows a state in a failure's message, and tells states apart.
func draw(s Listing) string {
	all := byUUID(s)
	lines := make([]string, 0, len(s.Lvols))
	for _, l := range s.Lvols {
		kind := "writable"
		if l.ReadOnly {
			kind = "snapshot"
		}
		if l.Degraded {
			kind = "degraded " + kind
		}
		lines = append(lines, fmt.Sprintf("%s %s on %q, own %q (%d), %d bytes, record %q, used by %v", kind, l.Name, all[l.Parent].Name+l.External, l.Own.Map, l.Own.Count, l.Size, l.Record, l.UsedBy))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func drawPlan(plan Plan) string {
	var lines []string
	for i, o := range plan.Operations {
		lines = append(lines, fmt.Sprintf("%2d %s %s %s %s on %s after %v", i, o.Stage, o.Verb, o.Target, o.Name, o.Parent, o.After))
	}
	return strings.Join(lines, "\n")
}

func newProver(t *testing.T) *prover { return &prover{t: t, seen: make(map[[sha256.Size]byte]bool)} }

func (p *prover) report(what string) {
	p.t.Logf("%s: %d starts (%d of them refused, nothing changed), %d distinct states that a crash can leave, each planned from; %d moments looked at", what, p.starts, p.refused, p.states, p.plays)
}

var smallTrees = map[string][]int{
	"no snapshot": {},
	"a snapshot":  {-1},
	"a chain":     {-1, 0},
}

func TestEveryPrefixOfEveryOrderIsSafeAndLeadsOn(t *testing.T) {
	for _, name := range []string{"no snapshot", "a snapshot"} {
		t.Run(name+", exhaustively", func(t *testing.T) {
			t.Parallel()
			p := newProver(t)
			p.exhaust(smallTrees[name], false, 1)
			p.report(name)
		})
		t.Run(name+" of a linked clone", func(t *testing.T) {
			t.Parallel()
			p := newProver(t)
			if *soak {
				p.exhaust(smallTrees[name], true, 1)
			} else {
				p.exhaust(smallTrees[name], true, 3)
			}
			p.report(name + " of a linked clone")
		})
	}
	t.Run("a chain of two, exhaustively", func(t *testing.T) {
		t.Parallel()
		if !*soak {
			t.Skip("millions of states: run by make soak; a sample of them follows")
		}
		p := newProver(t)
		p.exhaust(smallTrees["a chain"], false, 1)
		p.report("a chain of two")
	})
	t.Run("trees of two to six snapshots, at random", func(t *testing.T) {
		t.Parallel()
		p := newProver(t)
		worlds := 200
		if *soak {
			worlds = 200_000
		}
		began := time.Now()
		for seed := range uint64(worlds) {
			if *soakFor > 0 && time.Since(began) > *soakFor {
				t.Logf("stopped before seed %d of %d", seed, worlds)
				break
			}
			c := &dice{rand.New(rand.NewPCG(seed, 1))}
			parentOf := []int{-1}
			for i := 1; i < 2+c.choose(5); i++ {
				parentOf = append(parentOf, c.choose(i))
			}
			if w, ok := drawLeftovers(c, drawSource(c, parentOf, c.choose(4) == 0), parentOf); ok {
				if len(parentOf) == 2 {
					p.prove(w)
				} else {
					p.wander(w, c)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		p.report("two to six snapshots")
	})
}

// Linked clones of the destination's snapshots read the old bytes or the right ones at any
// moment, and the right ones at the end.
func TestEveryPrefixKeepsWhatLinkedClonesRead(t *testing.T) {
	p := newProver(t)
	worlds := 3000
	if *soak {
		worlds = 300_000
	}
	for seed := range uint64(worlds) {
		c := &dice{rand.New(rand.NewPCG(seed, 3))}
		parentOf := []int{-1}
		for i := 1; i < 1+c.choose(5); i++ {
			parentOf = append(parentOf, c.choose(i))
		}
		w := drawSource(c, parentOf, c.choose(4) == 0)
		w.cloned = true
		if w, ok := drawLeftovers(c, w, parentOf); ok {
			if seed%100 == 0 && len(parentOf) == 2 {
				p.prove(w)
			} else {
				p.wander(w, c)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	require.Greater(t, p.moved, worlds/20)
	p.report("snapshots with linked clones")
}

// A replica of another volume, or a larger head, is refused at the start or never,
// whatever is there, and not after a crash.
func TestLossRefusedAtStartOrNever(t *testing.T) {
	p := newProver(t)
	worlds := 3000
	if *soak {
		worlds = 300_000
	}
	for seed := range uint64(worlds) {
		c := &dice{rand.New(rand.NewPCG(seed, 2))}
		parentOf := [][]int{{}, {-1}, {-1, 0}, {-1, 0, 0}}[c.choose(4)]
		w, ok := drawLeftovers(c, drawSource(c, parentOf, c.choose(4) == 0), parentOf)
		if !ok {
			continue
		}
		w.otherVolume = c.choose(4) > 0
		head := -1
		for i := range w.destination.Lvols {
			if w.destination.Lvols[i].Name == destinationReplica {
				head = i
			}
		}
		if head >= 0 && c.choose(3) == 0 {
			w.destination.Lvols[head].Size += proofCluster
		}
		if c.choose(2) == 0 {
			w.options.Overwrite = destinationReplica
		}
		p.wander(w, c)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	require.Greater(t, p.refused, worlds/5)
	require.Greater(t, p.starts-p.refused, worlds/5)
	p.report("mistaken destinations")
}

// exhaust proves one in so many of all worlds with that tree.
func (p *prover) exhaust(parentOf []int, clones bool, oneIn int) {
	drawn := 0
	for o := (&odometer{}); ; {
		if w, ok := drawLeftovers(o, drawSource(o, parentOf, clones), parentOf); ok {
			if drawn%oneIn == 0 {
				p.prove(w)
			}
			drawn++
		}
		if !o.next() {
			return
		}
	}
}

type dice struct{ *rand.Rand }

func (d *dice) choose(n int) int { return d.IntN(n) }

// wander follows one random order of the plan, stops at a random moment, often
// in the middle of a verb, plans again, and so on; at last it arrives.
func (p *prover) wander(w world, c *dice) {
	p.world = w
	p.starts++
	state := w.destination
	for crashes := 0; ; crashes++ {
		state, _ = canonical(state)
		p.states++
		plan, err := p.plan(state)
		if refusal := (*Refusal)(nil); crashes == 0 && errors.As(err, &refusal) {
			p.refused++
			return
		}
		if err != nil {
			p.t.Fatalf("planning again after a crash: %v, from\n%s", err, draw(state))
		}
		stopAt := len(plan.Operations)
		if crashes < 4 && stopAt > 0 {
			stopAt = c.choose(stopAt + 1)
		}
		state = p.follow(state, plan, stopAt, c)
		if stopAt == len(plan.Operations) {
			p.checkGoal(state)
			return
		}
	}
}

func (p *prover) follow(start Listing, plan Plan, stopAt int, c *dice) Listing {
	require.Less(p.t, len(plan.Operations), 64)
	state, done := start, uint64(0)
	for n := 0; ; n++ {
		p.plays++
		p.checkMoment(start, state, plan, done)
		if n == len(plan.Operations) {
			return state
		}
		var next []int
		for i := range plan.Operations {
			if ready(plan, done, i) {
				next = append(next, i)
			}
		}
		require.NotEmpty(p.t, next, "stuck")
		i := next[c.choose(len(next))]
		if n == stopAt {
			if left := interrupted(state, plan, plan.Operations[i]); len(left) > 0 {
				return left[c.choose(len(left))]
			}
			return state
		}
		after, err := Apply(state, p.world.source, destinationReplica, plan.Operations[i])
		if err != nil {
			p.t.Fatalf("%v\n%s\nplan:\n%s", err, draw(state), drawPlan(plan))
		}
		state, done = after, done|1<<i
	}
}
