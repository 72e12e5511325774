package domain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The proof of rebuilds under a live volume. Clients write at every moment outside of the
// freeze; engine, source, destination and mirror's host crash at every moment; a user takes a
// snapshot. At each moment a replica of the destination with a head shows what every whole
// member shows, and a new plan leads on to a whole member.

// liveWorld is a volume, the stores of its members and the destination's.
type liveWorld struct {
	volume      Volume
	members     []Listing // of the members that are alive
	names       []string  // of their replicas
	destination Listing
	writes      int // so far, each with bytes of its own
	plans       int
	requested   Base
	options     Options
}

func (w liveWorld) clone() liveWorld {
	w.volume.Members = slices.Clone(w.volume.Members)
	w.members, w.names = slices.Clone(w.members), slices.Clone(w.names)
	for i := range w.members {
		w.members[i].Lvols = slices.Clone(w.members[i].Lvols)
	}
	w.destination.Lvols = slices.Clone(w.destination.Lvols)
	return w
}

// write lets a client write: to the heads of all members that are not lost.
func (w *liveWorld) write() {
	w.writes++
	for _, store := range w.stores() {
		for i := range store.Lvols {
			l := &store.Lvols[i]
			if m, is := w.volume.Member(l.UUID); is && m.Mode != ModeERR {
				l.Own = ownClusters(fmt.Sprint(l.Own.Map, "w", w.writes), l.Own.Count+1)
			}
		}
	}
}

// userSnapshot is one that a user takes of all members, in a freeze of its own.
func (w *liveWorld) userSnapshot() {
	name := fmt.Sprint("user", w.writes)
	for _, store := range w.stores() {
		for i, l := range slices.Clone(store.Lvols) {
			if m, is := w.volume.Member(l.UUID); is && m.Mode != ModeERR {
				replica := destinationReplica
				if _, inFlight := ReplicaInFlight(l.Name); !inFlight {
					replica = l.Name
				}
				taken := l
				taken.UUID, taken.Name, taken.ReadOnly = l.UUID+name, SnapshotLvolName(replica, name), true
				taken.Attributes, taken.Record = createdAt(100+w.writes), ""
				store.Lvols[i].Parent, store.Lvols[i].External, store.Lvols[i].Own = taken.UUID, "", Clusters{}
				store.Lvols = append(store.Lvols, taken)
			}
		}
	}
}

func (w *liveWorld) stores() []*Listing {
	all := []*Listing{&w.destination}
	for i := range w.members {
		all = append(all, &w.members[i])
	}
	return all
}

// removeHalfCuts does what an engine does first, in a freeze.
func (w *liveWorld) removeHalfCuts(t *testing.T) {
	for _, half := range HalfCuts(w.replicas(t)) {
		store := w.members[half.Member]
		at := slices.IndexFunc(store.Lvols, func(l Lvol) bool { return l.UUID == half.Snapshot.Lvol.UUID })
		gone := store.Lvols[at]
		for i := range store.Lvols {
			if l := &store.Lvols[i]; l.Parent == gone.UUID {
				require.Equal(t, w.names[half.Member], l.Name, "only the head is changed")
				l.Parent, l.External, l.Own = gone.Parent, gone.External, ownClusters(gone.Own.Map+l.Own.Map, gone.Own.Count+l.Own.Count)
			}
		}
		w.members[half.Member].Lvols = slices.Delete(store.Lvols, at, at+1)
	}
}

func (w liveWorld) replicas(t *testing.T) (all []Replica) {
	for i, store := range w.members {
		r, err := NewReplica(store, w.names[i])
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

// crashes lists what is left after each party's crash. The engine's changes nothing.
func (w liveWorld) crashes() map[string]liveWorld {
	all := map[string]liveWorld{"engine": w.clone()}
	lose := func(to *liveWorld, store Listing) {
		for _, l := range store.Lvols {
			to.volume = to.volume.Lose(l.UUID, "its host crashed")
		}
	}
	destination := w.clone()
	lose(&destination, destination.destination)
	// What hangs on an external snapshot is degraded then, until it is exported again: the
	// engine does so before it plans.
	all["destination"] = destination
	mirror := w.clone()
	mirror.volume.Members = slices.DeleteFunc(mirror.volume.Members, func(m Member) bool { return m.Mode != ModeRW })
	all["mirror"] = mirror
	if len(w.members) > 1 { // with one, its end is the volume's
		source := w.clone()
		lose(&source, source.members[0])
		source.members, source.names = source.members[1:], source.names[1:]
		all["source"] = source
	}
	return all
}

type liveProver struct {
	t       *testing.T
	seen    map[[sha256.Size]byte]bool
	pending []liveWorld

	starts, refused, states, plays int
}

// mostPlans is how many crashes one after the other are played.
const mostPlans = 2

func (p *liveProver) prove(w liveWorld) {
	p.starts++
	p.push(w)
	for first := true; len(p.pending) > 0; first = false {
		now := p.pending[len(p.pending)-1]
		p.pending = p.pending[:len(p.pending)-1]
		now.plans++
		now.removeHalfCuts(p.t)
		cut := Cut{Snapshot: CutName(fmt.Sprintf("%08x", now.plans)), Attributes: createdAt(50 + now.plans)}
		plan, err := p.plan(now, cut)
		if refusal := (*Refusal)(nil); first && errors.As(err, &refusal) {
			p.refused++
			continue
		}
		require.NoError(p.t, err, "planning again, from\n%s", p.draw(now))
		p.playEveryOrder(now, plan, cut)
	}
}

func (p *liveProver) push(w liveWorld) {
	if w.plans >= mostPlans {
		return
	}
	sum := sha256.Sum256([]byte(abstract(p.draw(w)) + fmt.Sprint(w.plans)))
	if p.seen[sum] {
		return
	}
	p.seen[sum] = true
	p.states++
	p.pending = append(p.pending, w)
}

var (
	drawnWrites = regexp.MustCompile(`\b[a-z]*(w\d+)+`)
	drawnNames  = regexp.MustCompile(`user\d+|rebuild-cut-[0-9a-f]{8}|rebuilding-[0-9a-f]{8}`)
)

// abstract numbers writes and names anew: which bytes are equal counts, not which they are.
func abstract(drawn string) string {
	for _, pattern := range []*regexp.Regexp{drawnWrites, drawnNames} {
		numbers := make(map[string]string)
		drawn = pattern.ReplaceAllStringFunc(drawn, func(s string) string {
			if numbers[s] == "" {
				numbers[s] = fmt.Sprint("#", len(numbers))
			}
			return numbers[s]
		})
	}
	return drawn
}

func (p *liveProver) plan(w liveWorld, cut Cut) (Plan, error) {
	v := LiveVolume{Volume: w.volume, Replicas: w.replicas(p.t)}
	destination, err := NewReplica(w.destination, destinationReplica)
	if err != nil {
		return Plan{}, err
	}
	if cut.Made() {
		for i := range v.Replicas {
			if v.Replicas[i], err = AtCut(v.Replicas[i], cut); err != nil {
				return Plan{}, err
			}
		}
		if destination, err = BelowLive(destination, cut, v.Replicas[0]); err != nil {
			return Plan{}, err
		}
	}
	return PlanOnline(v, destination, w.requested, cut, w.options)
}

// playEveryOrder visits every set of operations that can have been done. When the volume has
// been cut, the rest is planned again: only then it is known what the cut has.
func (p *liveProver) playEveryOrder(start liveWorld, plan Plan, cut Cut) {
	require.Less(p.t, len(plan.Operations), 64)
	type moment struct {
		done  uint64
		world liveWorld
	}
	cuts := slices.ContainsFunc(plan.Operations, func(o Operation) bool { return o.Stage == StageCut })
	whole := uint64(1)<<len(plan.Operations) - 1
	for i, o := range plan.Operations {
		if cuts && o.Stage > StageCut {
			whole &^= 1 << i
		}
	}
	reached := map[uint64]bool{0: true}
	for todo := []moment{{0, start}}; len(todo) > 0; {
		now := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		p.plays++
		p.check(start, now.world, plan, now.done)
		switch {
		case now.done != whole:
		case cuts:
			p.playRest(now.world, cut)
			continue
		default:
			p.checkGoal(now.world)
			continue
		}
		for _, left := range now.world.crashes() {
			p.check(start, left, plan, now.done)
			left.write()
			p.check(start, left, plan, now.done)
			p.push(left)
		}
		for i, o := range plan.Operations {
			if whole&(1<<i) == 0 || !ready(plan, now.done, i) || reached[now.done|1<<i] {
				continue
			}
			next := moment{now.done | 1<<i, now.world.clone()}
			reached[next.done] = true
			if err := next.world.play(o, plan, cut); err != nil {
				p.t.Fatalf("%v\n%s\nplan:\n%s", err, p.draw(now.world), drawPlan(plan))
			}
			if !frozen(plan, next.done) {
				if o.Stage == StageBuild && o.Verb == VerbCopy && !strings.Contains(p.draw(next.world), "user") {
					next.world.userSnapshot()
				}
				next.world.write()
			}
			todo = append(todo, next)
		}
	}
}

// playRest plays the plan that the run makes when the volume has been cut.
func (p *liveProver) playRest(w liveWorld, cut Cut) {
	i := slices.IndexFunc(w.volume.Members, func(m Member) bool { return m.Mode == ModeWO })
	cut.Joined = w.volume.Members[i]
	plan, err := p.plan(w, cut)
	require.NoError(p.t, err)
	p.playEveryOrder(w, plan, cut)
}

// frozen reports whether some, but not all of the operations in the freeze are done.
func frozen(plan Plan, done uint64) bool {
	some, all := false, true
	for i, o := range plan.Operations {
		if o.Stage == StageCut {
			some, all = some || done&(1<<i) != 0, all && done&(1<<i) != 0
		}
	}
	return some && !all
}

// play carries out one operation, on a model that is made of the world and taken apart again.
func (w *liveWorld) play(o Operation, plan Plan, cut Cut) error {
	m := NewLiveModel(w.volume, w.members, w.names, w.destination, destinationReplica)
	m.joined = cut.Joined
	for _, done := range plan.Operations { // what was exported before
		if done.Verb == VerbExport {
			m.shown[fmt.Sprint(done.Member, "/", uuidOf(done.Target))] = true
		}
	}
	if err := m.Apply(w.members[0], o); err != nil {
		return err
	}
	w.volume, w.destination = m.Volume, m.Destination.Listing()
	for i := range w.members {
		w.members[i] = m.Members[i].Listing()
	}
	return nil
}

// viewIn is what a reader of an lvol sees. An external snapshot is found on the members.
func (w liveWorld) viewIn(store Listing, l Lvol) []Clusters {
	all := byUUID(store)
	seen := view(all, l)
	for l.External == "" && l.Parent != "" {
		l = all[l.Parent]
	}
	if l.External == "" {
		return seen
	}
	for _, member := range w.members {
		if external, ok := byUUID(member)[l.External]; ok {
			return append(view(byUUID(member), external), seen[1:]...)
		}
	}
	return seen
}

func (p *liveProver) check(start, now liveWorld, plan Plan, done uint64) {
	headOf := func(store Listing, replica string) (Lvol, bool) {
		i := slices.IndexFunc(store.Lvols, func(l Lvol) bool { return l.Name == replica })
		if i < 0 {
			return Lvol{}, false
		}
		return store.Lvols[i], true
	}
	// What was on the members is there and reads as it did, but for the heads, which clients
	// write; and all members show the same.
	for i, store := range now.members {
		before := start.members[slices.Index(start.names, now.names[i])] // without half cuts
		was, is := byUUID(before), byUUID(store)
		for _, l := range before.Lvols {
			if l.Name != now.names[i] && (is[l.UUID] != l || !slices.Equal(view(was, l), view(is, l))) {
				p.t.Fatalf("%s changed on a member:\n%s", l.Name, p.draw(now))
			}
		}
		for _, l := range store.Lvols {
			_, known := was[l.UUID]
			if !known && !strings.Contains(l.Name, "-snap-"+cutPrefix) && !strings.Contains(l.Name, "-snap-user") {
				p.t.Fatalf("%s was made on a member:\n%s", l.Name, p.draw(now))
			}
		}
		head, _ := headOf(store, now.names[i])
		first, _ := headOf(now.members[0], now.names[0])
		if flat(view(is, head)) != flat(view(byUUID(now.members[0]), first)) {
			p.t.Fatalf("members differ:\n%s", p.draw(now))
		}
	}
	// A new head under its final name is a whole member, and shows what the others show.
	head, ok := headOf(now.destination, destinationReplica)
	if _, old := byUUID(start.destination)[head.UUID]; !ok || old && start.isStale(head) {
		for i, o := range plan.Operations {
			if ok && done&(1<<i) != 0 && o.Verb != VerbLeave {
				p.t.Fatalf("%s happened under the old head:\n%s", o.Verb, p.draw(now))
			}
		}
		return
	}
	member, is := now.volume.Member(head.UUID)
	if is && member.Mode == ModeERR || !is {
		return // it was whole until its host, or that of the mirror, crashed
	}
	first, _ := headOf(now.members[0], now.names[0])
	ours, right := now.viewIn(now.destination, head), view(byUUID(now.members[0]), first)
	if member.Mode != ModeRW || head.External != "" || flat(ours) != flat(right) {
		p.t.Fatalf("a head stands on a replica that is not whole:\n%v\n%v\n%s", ours, right, p.draw(now))
	}
}

// isStale reports whether the head lacks writes.
func (w liveWorld) isStale(head Lvol) bool {
	m, is := w.volume.Member(head.UUID)
	return !is || m.Mode == ModeERR
}

// flat is a view as one text: snapshots of the members may cut it at other places.
func flat(v []Clusters) string {
	var text strings.Builder
	for _, c := range v {
		text.WriteString(c.Map)
	}
	return text.String()
}

func (p *liveProver) checkGoal(now liveWorld) {
	lvols := byUUID(now.destination)
	head := slices.IndexFunc(now.destination.Lvols, func(l Lvol) bool { return l.Name == destinationReplica })
	require.GreaterOrEqual(p.t, head, 0, "no head:\n%s", p.draw(now))
	m, is := now.volume.Member(now.destination.Lvols[head].UUID)
	require.True(p.t, is && m.Mode == ModeRW, "the head is no whole member:\n%s", p.draw(now))
	source, err := NewReplica(now.members[0], now.names[0])
	require.NoError(p.t, err)
	destination, err := NewReplica(now.destination, destinationReplica)
	require.NoError(p.t, err)
	violations, err := Verify(source, destination, now.requested)
	require.NoError(p.t, err)
	require.Empty(p.t, violations, p.draw(now))
	for _, l := range now.destination.Lvols {
		require.True(p.t, l.External == "" && !l.Degraded, "%s does not have all its bytes on the store\n%s", l.Name, p.draw(now))
	}
	want := "" // rule 1
	if name, ok := now.requested.Image(); ok {
		want = ImageLvolName(name, now.destination.UUID)
	}
	ancestor := now.destination.Lvols[head]
	for ancestor.Parent != "" && !strings.HasPrefix(lvols[ancestor.Parent].Name, imagePrefix) {
		ancestor = lvols[ancestor.Parent]
	}
	require.Equal(p.t, want, lvols[ancestor.Parent].Name, "the ancestor's parent:\n%s", p.draw(now))
	plan, err := p.plan(now, Cut{Snapshot: CutName("ffffffff")})
	require.NoError(p.t, err)
	require.Empty(p.t, plan.Operations, "planned again at the goal")
}

func (p *liveProver) draw(w liveWorld) string {
	text := fmt.Sprintf("volume: %+v\n", w.volume.Members)
	for _, store := range w.members {
		text += draw(store) + "\n"
	}
	return text + "destination\n" + draw(w.destination)
}

// TestEveryPrefixOfEveryOnlinePlan plays volumes of one and of two members with a tree of up to
// one snapshot over an image or none, and all destinations of the alphabet: one in 39, and
// all of them with -soak.
func TestEveryPrefixOfEveryOnlinePlan(t *testing.T) {
	p := &liveProver{t: t, seen: make(map[[sha256.Size]byte]bool)}
	var worlds []liveWorld
	trees := []string{"  s1 own=a/2\n    head own=h/1\n", "  s1 own=a/2\n    head\n", "  head own=h/1\n"}
	heads := []string{"", "  head own=x/1\n", "  s1 own=a/2\n    head own=x/1\n"}
	leftovers := []string{
		"", "  s1 own=a/2\n", "  s1 own=old/2\n", "  flight:00000001 own=h/1\n",
		"  flight:00000001 external=cut own=w/1\n",
		"  rebuild-cut-0000000a external=cut own=w/1 system\n    flight:00000001 own=v/1\n",
		"  daily external=cut own=w/1\n    flight:00000001 own=v/1\n",
		"  flight:00000001 degraded\n",
	}
	for _, members := range []int{1, 2} {
		for _, image := range []string{"", "  image:base\n"} {
			for _, tree := range trees {
				for _, head := range heads {
					for _, leftover := range leftovers {
						if strings.Contains(head, "s1") && strings.Contains(leftover, "  s1") {
							continue
						}
						for _, mode := range []Mode{"", ModeRW, ModeERR, modeDropped} { // of the leftover, or of the head
							worlds = append(worlds, liveWorldOf(t, members, image, tree, head+leftover, mode))
						}
					}
				}
			}
		}
	}
	for i, w := range worlds {
		if *soak || i%39 == 0 {
			p.prove(w)
		}
	}
	t.Logf("%d starts, %d of them refused, %d states that a crash can leave, %d moments", p.starts, p.refused, p.states, p.plays)
	require.Zero(t, p.refused)
}

// modeDropped is that of a former member that the mirror does not list any more, and that is still
// exported to its host.
const modeDropped Mode = "dropped"

// liveWorldOf indents a tree below the image, if there is one.
func liveWorldOf(t *testing.T, members int, image, tree, destination string, mode Mode) liveWorld {
	t.Helper()
	below := func(tree string) string {
		if image == "" {
			return tree
		}
		var text strings.Builder
		for line := range strings.Lines(tree) {
			if strings.Contains(line, "external=") || strings.Contains(line, "flight:") || strings.Contains(line, "degraded") {
				text.WriteString(line)
				continue
			}
			text.WriteString("  " + line)
		}
		return image + text.String()
	}
	w := liveWorld{requested: NoBase(), volume: Volume{Name: "vol-1", Host: "nqn.raid"}}
	if image != "" {
		w.requested = ImageBase("base")
	}
	for i := range members {
		store := fixtureStore(string(rune('m' + i)))
		name := fmt.Sprintf("vol-1-r-m%d", i)
		fillStore(t, &store, name, below(tree))
		w.members, w.names = append(w.members, store), append(w.names, name)
		for _, l := range store.Lvols {
			if l.Name == name {
				w.volume.Members = append(w.volume.Members, Member{Head: l.UUID, Name: name, Mode: ModeRW})
			}
		}
	}
	w.destination = fixtureStore("b")
	fillStore(t, &w.destination, destinationReplica, below(destination))
	for i, l := range w.destination.Lvols {
		_, inFlight := ReplicaInFlight(l.Name)
		isHead := l.Name == destinationReplica
		switch {
		case mode == modeDropped && (inFlight && l.External != "" || isHead):
			w.destination.Lvols[i].UsedBy = User{Kind: UserExport, Name: "nqn.way", Host: "nqn.raid"}
		case mode != "" && (inFlight && l.External != "" || isHead && mode == ModeERR):
			w.volume.Members = append(w.volume.Members, Member{Head: l.UUID, Name: l.Name, Mode: mode, Since: joinedNow})
		}
	}
	w.write()
	return w
}
