package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func repairOf(t *testing.T, store Listing, requested Base, others ...Replica) (Plan, error) {
	t.Helper()
	r, err := NewReplica(store, destinationReplica)
	require.NoError(t, err)
	return PlanRepair(r, requested, others...)
}

func TestRepairPlans(t *testing.T) {
	base := ImageBase("base")
	for what, c := range map[string]struct {
		store     string
		requested Base
		want      []string // operations
		warns     bool
	}{
		"nothing to do": {"  image:base\n    s1\n      head record=base\n", Base{}, nil, false},
		"the ancestor back on the image": {
			"  image:base\n  s1\n    s2\n      head own=?/3 record=base\n",
			Base{},
			[]string{"build: graft b-s1 on b-image:base, named vol-1-r-4e5f6a7b-snap-s1"},
			true,
		},
		"the record, too": {
			"  image:base\n  s1\n    head\n", base,
			[]string{"build: graft b-s1 on b-image:base, named vol-1-r-4e5f6a7b-snap-s1", "create-head: record b-head, named vol-1-r-4e5f6a7b, records base"},
			true,
		},
		"the record alone": {"  image:base\n    s1\n      head\n", Base{}, []string{"create-head: record b-head, named vol-1-r-4e5f6a7b, records base"}, false},
		"a head without snapshots": {
			"  image:base\n  head own=?/1 record=base\n",
			Base{},
			[]string{"build: graft b-head on b-image:base, named vol-1-r-4e5f6a7b"},
			true,
		},
		"the spacer of a graft that was interrupted": {
			"  image:base\n    spacer:0badcafe\n      s1\n        head record=base\n",
			Base{},
			[]string{"build: graft b-s1 on b-image:base, named vol-1-r-4e5f6a7b-snap-s1", "build: delete b-spacer:0badcafe, named vol-1-r-4e5f6a7b-rebuilding-0badcafe, after [0]"},
			false,
		},
		"a spacer on nothing": {
			"  image:base\n  spacer:0badcafe\n    s1\n      head record=base\n",
			Base{},
			[]string{"build: graft b-s1 on b-image:base, named vol-1-r-4e5f6a7b-snap-s1", "build: delete b-spacer:0badcafe, named vol-1-r-4e5f6a7b-rebuilding-0badcafe, after [0]"},
			true,
		},
		"two spacers, one on the other, leaf first": {
			"  image:base\n    s1\n      spacer:00000001\n        spacer:00000002\n          s2\n            head record=base\n",
			Base{},
			[]string{
				"build: graft b-s2 on b-s1, named vol-1-r-4e5f6a7b-snap-s2",
				"build: delete b-spacer:00000002, named vol-1-r-4e5f6a7b-rebuilding-00000002, after [0]",
				"build: delete b-spacer:00000001, named vol-1-r-4e5f6a7b-rebuilding-00000001, after [1]",
			},
			false,
		},
		"in flight with data: it stays, with its parent": {
			"  image:base\n  s1\n    head record=base\n  spacer:00000001\n    flight:00000002 own=?/1\n",
			Base{},
			[]string{"build: graft b-s1 on b-image:base, named vol-1-r-4e5f6a7b-snap-s1"},
			true,
		},
	} {
		t.Run(what, func(t *testing.T) {
			store := storeOf(t, c.store)
			plan, err := repairOf(t, store, c.requested)
			require.NoError(t, err)
			var got []string
			for _, o := range plan.Operations {
				got = append(got, operationText(o))
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.warns, len(plan.Warnings) > 0, plan.Warnings)
			require.Zero(t, plan.CopiedClusters())
			require.Len(t, plan.Steps, len(plan.Operations))
			for i, step := range plan.Steps {
				require.Equal(t, []int{i}, step.Operations)
				require.NotEmpty(t, step.Reason)
			}
		})
	}
}

func TestRepairRefusals(t *testing.T) {
	base := ImageBase("base")
	for what, c := range map[string]struct {
		store     string
		requested Base
		says      []string
	}{
		"nobody knows the image":     {"  image:base\n  s1\n    head\n", Base{}, []string{"is not known"}},
		"another image is requested": {"  image:base\n    s1\n      head\n", ImageBase("other"), []string{"other", "base"}},
		"no image is requested":      {"  image:base\n    s1\n      head\n", NoBase(), []string{"no backing image", "base"}},
		"the image is not there":     {"  s1\n    head\n", base, []string{"backing-image:base", "not on lvstore disk-b", "rebuild it"}},
		"the image is writable":      {"  image:base writable\n  s1\n    head\n", base, []string{"writable"}},
		"the image is too large":     {"  image:base size=9\n  s1\n    head\n", base, []string{"9437184 bytes, more than the 8388608"}},
		"there is no head":           {"  image:base\n  s1\n", base, []string{"no head", "rebuild it"}},
		"not found":                  {"  image:base\n", base, []string{"replica vol-1-r-4e5f6a7b not found"}},
		"two ancestors":              {"  image:base\n  s1\n    head\n  s2\n", base, []string{"s1", "one-root", "2 ancestors"}},
		"a foreign parent":           {"  image:base\n    s1\n  snap:vol-7-snap-a\n    s2\n      head\n", Base{}, []string{"s2", "vol-7-snap-a"}},
		"a smaller child":            {"  image:base\n  s1\n    head size=7\n", base, []string{"head", "fewer"}},
		"a linked clone reads it":    {"  image:base\n  s1\n    s2\n      head\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", base, []string{"vol-1-r-4e5f6a7b-clone-ep-1", "foreign lvol", "vol-1-r-4e5f6a7b-snap-s1"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := repairOf(t, storeOf(t, c.store), c.requested)
			requireRefusal(t, err, c.says...)
		})
	}
}

// A linked clone that already reads the right bytes does not prevent the repair.
func TestRepairRemovesSpacerOfLinkedClone(t *testing.T) {
	plan, err := repairOf(t, storeOf(t, "  image:base\n    spacer:0badcafe\n      s1\n        head record=base\n        lvol:vol-1-r-4e5f6a7b-clone-ep-1\n"), Base{})
	require.NoError(t, err)
	require.Len(t, plan.Operations, 2)
}

func TestRepairLearnsImageFromOtherReplica(t *testing.T) {
	healthy := replicasOf(t, "  image:base\n    s1\n      head\n")
	plan, err := repairOf(t, storeOf(t, "  image:base\n  s1\n    head\n"), Base{}, healthy...)
	require.NoError(t, err)
	require.Equal(t, ImageBase("base"), plan.Base)
}

// TestEveryPrefixOfARepairIsSafeAndLeadsOn plays every order of every repair, with the
// leftovers of interrupted verbs: at each moment only empty in-flight lvols are
// deleted, no own clusters change, each lvol reads its old bytes or the right ones, and
// another repair leads to a replica without violations.
func TestEveryPrefixOfARepairIsSafeAndLeadsOn(t *testing.T) {
	for what, c := range map[string]struct {
		draw  func(chooser) (Listing, bool)
		base  Base
		views []string
	}{
		"an image":       {drawHurt, ImageBase(proofImage), []string{"bi-base-disk-store-b"}},
		"a linked clone": {drawHurtClone, CloneBase("vol-9", "daily"), []string{weeklyName, dailyName}},
	} {
		t.Run(what, func(t *testing.T) {
			p := &repairProver{t: t, base: c.base, views: c.views, seen: make(map[string]int)}
			// A second interruption in a row only adds in-flight lvols.
			crashes := 1
			if *soak {
				crashes = 2
			}
			starts := 0
			for o := (&odometer{}); ; {
				if start, ok := c.draw(o); ok {
					starts++
					p.from(start, true, crashes)
				}
				if !o.next() {
					break
				}
			}
			t.Logf("%d hurt replicas, %d of them refused; %d states that a crash can leave; %d moments looked at", starts, p.refused, len(p.seen), p.moments)
			require.Zero(t, p.refused)
			require.Greater(t, len(p.seen), starts)
		})
	}
}

// drawHurt draws a replica that may have lost its image, with leftovers of earlier
// repairs.
func drawHurt(c chooser) (Listing, bool) {
	s := fixtureStore("b")
	add := func(l Lvol) string {
		l.UUID = "u-" + l.Name
		s.Lvols = append(s.Lvols, l)
		return l.UUID
	}
	image := add(Lvol{Name: ImageLvolName(proofImage, s.UUID), Size: proofSize / 2, ReadOnly: true, Own: ownClusters("image", 2)})
	add(Lvol{Name: "vol-7", Parent: image, Size: proofSize}) // somebody else's
	depth := c.choose(3)
	under := func(parent, spacer string, spaced bool) string {
		if !spaced {
			return parent
		}
		return add(Lvol{Name: InFlightLvolName(destinationReplica, spacer), Parent: parent, Size: proofSize, ReadOnly: true})
	}
	on := ""
	if c.choose(2) == 0 {
		on = image
	}
	on = under(on, "0000aaaa", c.choose(2) == 1)
	for i := range depth {
		name := "s" + string(rune('0'+i))
		on = add(Lvol{Name: SnapshotLvolName(destinationReplica, name), Parent: on, Size: proofSize, ReadOnly: true, Own: ownClusters(name, 1)})
		if i == 0 {
			on = under(on, "0000bbbb", c.choose(2) == 1)
		}
	}
	if depth > 0 && c.choose(2) == 1 { // a branch
		add(Lvol{Name: SnapshotLvolName(destinationReplica, "side"), Parent: "u-" + SnapshotLvolName(destinationReplica, "s0"), Size: proofSize, ReadOnly: true, Own: ownClusters("side", 1)})
	}
	head := Lvol{Name: destinationReplica, Parent: on, Size: proofSize, Own: ownClusters("head", uint64(c.choose(2)))}
	head.Record = []string{"", proofImage}[c.choose(2)]
	add(head)
	switch c.choose(3) {
	case 1:
		add(Lvol{Name: InFlightLvolName(destinationReplica, "0000cccc"), Parent: image, Size: proofSize})
	case 2:
		add(Lvol{Name: InFlightLvolName(destinationReplica, "0000cccc"), Size: proofSize, Own: ownClusters("work", 1)})
	}
	return s, depth > 0 || head.Own.Count == 0 || on != ""
}

type repairProver struct {
	t       *testing.T
	base    Base
	views   []string       // the lvols with clusters that a reader of the base sees, from the root on
	seen    map[string]int // crashes that were still to come, by state
	moments int
	refused int
}

// from repairs from a state, and from every state that a crash of that repair leaves.
func (p *repairProver) from(state Listing, first bool, crashes int) {
	state, key := canonical(collapse(state))
	if p.seen[key] > crashes {
		return
	}
	p.seen[key] = crashes + 1
	r, err := NewReplica(state, destinationReplica)
	require.NoError(p.t, err)
	plan, err := PlanRepair(r, p.base)
	if err != nil {
		if !first {
			p.t.Fatalf("repairing again after a crash: %v, from\n%s", err, draw(state))
		}
		p.refused++
		return
	}
	whole := uint64(1)<<len(plan.Operations) - 1
	reached := map[uint64]Listing{0: state}
	for todo := []uint64{0}; len(todo) > 0; {
		done := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		now := reached[done]
		p.look(state, now)
		if done == whole {
			p.arrived(now)
		}
		if crashes > 0 && done != 0 {
			p.from(now, false, crashes-1)
		}
		for i, o := range plan.Operations {
			if !ready(plan, done, i) {
				continue
			}
			for _, left := range interrupted(now, plan, o) {
				p.look(state, left)
				if crashes > 0 {
					p.from(left, false, crashes-1)
				}
			}
			after, err := Apply(now, Listing{}, destinationReplica, o)
			if err != nil {
				p.t.Fatalf("%v\n%s\nplan:\n%s", err, draw(now), drawPlan(plan))
			}
			if _, again := reached[done|1<<i]; !again {
				reached[done|1<<i] = after
				todo = append(todo, done|1<<i)
			}
		}
	}
}

// look compares a moment with the beginning.
func (p *repairProver) look(start, now Listing) {
	p.moments++
	before, after := byUUID(start), byUUID(now)
	for _, l := range start.Lvols {
		is, there := after[l.UUID]
		if strings.Contains(l.Name, linkedCloneInfix) {
			is.Parent = l.Parent // its bytes are compared below
		}
		_, inFlight := ReplicaInFlight(l.Name)
		switch {
		case !there && inFlight && l.Own.Count == 0:
			continue
		case !there:
			p.t.Fatalf("%s is gone:\n%s\n\nand then\n%s", l.Name, draw(start), draw(now))
		case !strings.HasPrefix(l.Name, destinationReplica) && is != l:
			p.t.Fatalf("foreign lvol %s changed:\n%s", l.Name, draw(now))
		case is.Own != l.Own || is.Name != l.Name || is.Size != l.Size || is.ReadOnly != l.ReadOnly:
			p.t.Fatalf("%s is another now:\n%s\n\nand then\n%s", l.Name, draw(start), draw(now))
		}
		if inFlight {
			continue
		}
		was, reads := viewText(before, l), viewText(after, after[l.UUID])
		if right := p.rightView(was); reads != was && reads != right {
			p.t.Fatalf("%s reads %q instead of %q or %q:\n%s", l.Name, reads, was, right, draw(now))
		}
	}
}

// rightView is the view of an lvol of the replica on the base: its own part of the view
// that it had, which may have had a part of the base below.
func (p *repairProver) rightView(was string) string {
	own := strings.Split(was, " < ")
	for _, name := range p.views {
		if own[0] == name {
			own = own[1:]
		}
		if len(own) == 0 {
			break
		}
	}
	return strings.TrimSuffix(strings.Join(append(slices.Clone(p.views), own...), " < "), " < ")
}

// viewText lists the lvols with own clusters that a reader of an lvol sees, from the
// root on.
func viewText(all map[string]Lvol, l Lvol) string {
	var seen []string
	for ; l.UUID != ""; l = all[l.Parent] {
		if l.Own.Count > 0 {
			seen = append([]string{l.Name}, seen...)
		}
	}
	return strings.Join(seen, " < ")
}

func (p *repairProver) arrived(now Listing) {
	r, err := NewReplica(now, destinationReplica)
	require.NoError(p.t, err)
	for _, v := range Audit(r, Base{}).Violations {
		// In-flight lvols with data may still be needed.
		if l := r.InFlight; v.Rule != RuleInFlight || len(l) != 1 || l[0].Own.Count == 0 {
			p.t.Fatalf("repaired, and yet: %s\n%s", v, draw(now))
		}
	}
	plan, err := PlanRepair(r, Base{})
	require.NoError(p.t, err)
	if plan.Changes() {
		p.t.Fatalf("repaired, and yet there is more to do:\n%s", drawPlan(plan))
	}
	lvols := byUUID(now)
	root := *r.Head
	if s, ok := r.Snapshot("s0"); ok {
		root = s.Lvol
	}
	base := lvols[root.Parent]
	if _, _, isClone := p.base.Clone(); isClone {
		require.Equal(p.t, entryName, base.Name)
		base = lvols[base.Parent]
	}
	require.Equal(p.t, p.views[len(p.views)-1], base.Name, "rule 1, said without the domain's own words")
	for _, l := range now.Lvols {
		if l.Name == otherClone {
			require.Equal(p.t, strings.Join(p.views, " < "), viewText(lvols, l))
		}
	}
}
