package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (w liveWorld) onlinePlan(t *testing.T, cut Cut) (Plan, error) {
	t.Helper()
	return (&liveProver{t: t}).plan(w, cut)
}

// TestOnlinePlan: one of each stage.
func TestOnlinePlan(t *testing.T) {
	w := liveWorldOf(t, 2, "  image:base\n", "  s1 own=a/2\n    head own=h/1\n", "  s1 own=old/2\n    head own=x/1\n", ModeERR)
	plan, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
	require.NoError(t, err)
	require.Equal(t, []string{
		"leave: leave b-head",
		"leave: delete b-head",
		"prune: delete b-s1",
		"prepare: create new live head vol-1-r-4e5f6a7b",
		"prepare: export new live head vol-1-r-4e5f6a7b",
		"cut: snapshot new cut rebuild-cut-0000000a",
		"cut: export new cut rebuild-cut-0000000a",
		"cut: snapshot new cut rebuild-cut-0000000a",
		"cut: export new cut rebuild-cut-0000000a",
		"cut: graft-external new live head vol-1-r-4e5f6a7b",
		"cut: join new live head vol-1-r-4e5f6a7b",
		"build: create new snapshot s1",
		"build: copy new snapshot s1",
		"build: graft new snapshot s1",
		"build: seal new snapshot s1",
		"build: create new snapshot rebuild-cut-0000000a",
		"build: copy new snapshot rebuild-cut-0000000a",
		"build: graft new snapshot rebuild-cut-0000000a",
		"build: seal new snapshot rebuild-cut-0000000a",
		"land: graft lowest lvol below new live head vol-1-r-4e5f6a7b",
		"name: record new live head vol-1-r-4e5f6a7b",
		"name: rename new live head vol-1-r-4e5f6a7b",
	}, stagesOf(plan))
	var actions []string
	for _, s := range plan.Steps {
		actions = append(actions, strings.TrimSpace(string(s.Action)+" "+s.Snapshot))
	}
	require.Equal(t, []string{"leave", "remove", "cut", "copy s1", "copy rebuild-cut-0000000a", "land"}, actions)
	require.Nil(t, plan.SystemSnapshot, "the cut is what is copied of the head")
}

// TestOnlineDroppedMember: a head that only this volume's host may use, and that is no member any
// more, leaves what is left of its membership. Any other use is refused.
func TestOnlineDroppedMember(t *testing.T) {
	ours := User{Kind: UserExport, Name: "nqn.way", Host: "nqn.raid"}
	for name, test := range map[string]struct {
		change func(user *User, v *Volume)
		says   string
	}{
		"dropped": {func(*User, *Volume) {}, ""},
		"still listed": {func(_ *User, v *Volume) {
			v.Members = append(v.Members, Member{Head: "b-head", Name: "b", Mode: ModeERR, Reason: "slow"})
		}, ""},
		"another volume's":                  {func(u *User, _ *Volume) { u.Host = "nqn.other" }, "in use (it is exported as nqn.way)"},
		"any host":                          {func(u *User, _ *Volume) { u.Host = "" }, "in use (it is exported as nqn.way)"},
		"the mirror does not tell its host": {func(_ *User, v *Volume) { v.Host = "" }, "in use (it is exported as nqn.way)"},
		"neither tells":                     {func(u *User, v *Volume) { u.Host, v.Host = "", "" }, "in use (it is exported as nqn.way)"},
		"a RAID of its own target":          {func(u *User, _ *Volume) { u.Kind = UserRAID }, "in use (it is a base bdev of RAID nqn.way)"},
		"attached by its own target":        {func(u *User, _ *Volume) { u.NoDelete = true }, "end that use first"},
	} {
		t.Run(name, func(t *testing.T) {
			w := liveWorldOf(t, 2, "", "  s1 own=a/2\n    head own=h/1\n", "  s1 own=a/2\n    head own=x/1\n", "")
			at := slices.IndexFunc(w.destination.Lvols, func(l Lvol) bool { return l.Name == destinationReplica })
			user := ours
			test.change(&user, &w.volume)
			w.destination.Lvols[at].UsedBy = user
			plan, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
			if test.says != "" {
				requireRefusal(t, err, test.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"leave: leave b-head", "leave: delete b-head"}, stagesOf(plan)[:2])
		})
	}
}

func (w *liveWorld) refill(t *testing.T, member int, drawn string) {
	t.Helper()
	w.members[member].Lvols = nil
	fillStore(t, &w.members[member], w.names[member], drawn)
}

func stagesOf(plan Plan) (all []string) {
	for _, o := range plan.Operations {
		all = append(all, o.Stage.String()+": "+string(o.Verb)+" "+o.Target.String())
	}
	return all
}

// TestOnlineRefusals: what the mirror says must be what the caller says.
func TestOnlineRefusals(t *testing.T) {
	for says, change := range map[string]func(w *liveWorld){
		"no whole member is known":                                   func(w *liveWorld) { w.members, w.names = nil, nil },
		"has the member vol-1-r-m1, which is not among the":          func(w *liveWorld) { w.members, w.names = w.members[:1], w.names[:1] },
		"vol-1-r-m1 on lvstore disk-n is no member of volume":        func(w *liveWorld) { w.volume.Members = w.volume.Members[:1] },
		"is a lost member of volume vol-1, so it lacks writes: slow": func(w *liveWorld) { w.volume = w.volume.Lose("n-head", "slow") },
		"has no head": func(w *liveWorld) {
			w.refill(t, 1, "  s1 own=a/2\n")
		},
		"vol-1-r-m1-snap-rebuild-cut-0000000a has 36 bytes, lvstore disk-n takes at most 35": func(w *liveWorld) {
			w.members[1].NameLimit = 35
		},
		"the members of volume vol-1 differ in length": func(w *liveWorld) {
			w.refill(t, 1, "  head size=9\n")
		},
	} {
		t.Run(says, func(t *testing.T) {
			w := liveWorldOf(t, 2, "", "  s1 own=a/2\n    head own=h/1\n", "", "")
			change(&w)
			_, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
			requireRefusal(t, err, says)
		})
	}
}

// TestOnlineAfterTheCut: what the members got since is no part of the tree that is rebuilt, and
// the live chain is no leftover.
func TestOnlineAfterTheCut(t *testing.T) {
	cutThere := "  s1 own=a/2\n    rebuild-cut-0000000a own=h/1 system\n      daily own=w/1\n        head own=v/1\n"
	live := "  daily external=cut own=w/1\n    flight:00000001 own=v/1\n"
	cut := Cut{Snapshot: CutName("0000000a"), Joined: Member{Head: "b-flight:00000001", Since: joinedNow}}
	for what, c := range map[string]struct {
		there, here string
		want        []string
		says        string
	}{
		"nothing is there": {there: cutThere, here: live, want: []string{
			"build: create new snapshot s1", "build: copy new snapshot s1", "build: seal new snapshot s1",
			"build: create new snapshot rebuild-cut-0000000a", "build: copy new snapshot rebuild-cut-0000000a", "build: graft new snapshot rebuild-cut-0000000a", "build: seal new snapshot rebuild-cut-0000000a",
			"land: graft lowest lvol below b-flight:00000001", "name: record b-flight:00000001", "name: rename b-flight:00000001",
		}},
		"all is there": {there: cutThere, here: "  s1 own=a/2\n    rebuild-cut-0000000a own=h/1 system\n" + live, want: []string{
			"land: graft lowest lvol below b-flight:00000001", "name: record b-flight:00000001", "name: rename b-flight:00000001",
		}},
		"it is grafted": {there: cutThere, here: "  s1 own=a/2\n    rebuild-cut-0000000a own=h/1 system\n      daily own=w/1\n        flight:00000001 own=v/1\n", want: []string{
			"land: graft lowest lvol below b-flight:00000001",
			"name: record b-flight:00000001", "name: rename b-flight:00000001",
		}},
		"the cut was deleted":   {there: "  s1 own=a/2\n    head\n", here: live, says: "has no snapshot rebuild-cut-0000000a any more"},
		"reverted":              {there: "  s1 own=a/2\n    rebuild-cut-0000000a own=h/1 system\n    head\n", here: live, says: "it was reverted"},
		"the live head is gone": {there: cutThere, here: "", says: "the live head of replica vol-1-r-4e5f6a7b on lvstore disk-b is gone"},
	} {
		t.Run(what, func(t *testing.T) {
			w := liveWorldOf(t, 1, "", c.there, c.here, ModeWO)
			plan, err := w.onlinePlan(t, cut)
			if c.says != "" {
				requireRefusal(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, stagesOf(plan))
		})
	}
}

// TestHalfCuts: only a cut that another member lacks, right below a head.
func TestHalfCuts(t *testing.T) {
	w := liveWorldOf(t, 2, "", "  s1 own=a/2\n    head\n", "", "")
	require.Empty(t, HalfCuts(w.replicas(t)))
	cut := func(i int, name string) {
		w.refill(t, i, "  s1 own=a/2\n    "+name+" own=h/1 system\n      head\n")
	}
	cut(1, "rebuild-cut-0000000a")
	half := HalfCuts(w.replicas(t))
	require.Len(t, half, 1)
	require.Equal(t, 1, half[0].Member)
	cut(0, "rebuild-cut-0000000a")
	require.Empty(t, HalfCuts(w.replicas(t)))
	cut(0, "rebuild-0000000a") // of a rebuild that nobody wrote during: it is on its source alone
	cut(1, "s2")
	require.Empty(t, HalfCuts(w.replicas(t)))
}

// TestLiveModelRefuses: it is stricter than hosts.
func TestLiveModelRefuses(t *testing.T) {
	w := liveWorldOf(t, 1, "", "  s1 own=a/2\n    head own=h/1\n", "", "")
	plan, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
	require.NoError(t, err)
	byVerb := make(map[Verb]Operation)
	for _, o := range plan.Operations {
		if o.Stage == StageCut || o.Stage == StagePrepare || o.Stage == StageLand || o.Stage == StageName {
			byVerb[o.Verb] = o
		}
	}
	m := NewLiveModel(w.volume, w.members, w.names, w.destination, destinationReplica)
	source := m.Members[0].Listing()
	live := Operation{Verb: VerbExport, Target: byVerb[VerbCreate].Target}
	require.NoError(t, m.Apply(source, byVerb[VerbCreate]))
	require.ErrorContains(t, m.Apply(source, byVerb[VerbJoin]), "it is not exported")
	require.ErrorContains(t, m.Apply(source, byVerb[VerbGraftExternal]), "member 1 does not export")
	require.ErrorContains(t, m.Apply(source, Operation{Verb: VerbExport, Member: 1, Target: listed(*w.replicas(t)[0].Head)}), "is writable")
	require.NoError(t, m.Apply(source, live))
	require.ErrorContains(t, m.Apply(source, byVerb[VerbJoin]), "does not read the volume's bytes")
	require.NoError(t, m.Apply(source, byVerb[VerbSnapshot]))
	require.NoError(t, m.Apply(source, Operation{Verb: VerbExport, Member: 1, Target: byVerb[VerbSnapshot].Target}))
	require.NoError(t, m.Apply(source, byVerb[VerbGraftExternal]))
	require.ErrorContains(t, m.Apply(source, byVerb[VerbGraftExternal]), "has a parent already")
	require.ErrorContains(t, m.Apply(source, byVerb[VerbRename]), "still reads another host")
	require.NoError(t, m.Apply(source, byVerb[VerbJoin]))
	require.NoError(t, m.Destination.Apply(source, Operation{Verb: VerbGraft, Target: live.Target}))
	m.Volume = m.Volume.Lose(uuidOf(live.Target), "slow")
	require.ErrorContains(t, m.Apply(source, byVerb[VerbRename]), "lost member")
	require.ErrorContains(t, m.Apply(source, Operation{Verb: VerbLeave, Target: listed(*w.replicas(t)[0].Head)}), "last whole member")
}

// TestOnlineRefusesToCopyWholeMemberAgain: a rebuild offline would copy it.
func TestOnlineRefusesToCopyWholeMemberAgain(t *testing.T) {
	w := liveWorldOf(t, 1, "", "  s1 own=a/2\n    head\n", "  s1 own=a/2\n    head\n", "")
	w.volume.Members = append(w.volume.Members, Member{Head: "b-head", Name: destinationReplica, Mode: ModeRW})
	plan, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
	require.NoError(t, err)
	require.Empty(t, plan.Operations)
	w.options.Full = true
	_, err = w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
	requireRefusal(t, err, "is a whole member of volume vol-1", "remove it from the volume first")
}

// TestOnlineRefusesToMoveEntryPoints: linked clones read through a snapshot that is replaced.
func TestOnlineRefusesToMoveEntryPoints(t *testing.T) {
	here := "  s1 own=x/2\n    snap:" + destinationReplica + "-clone-ep-s1\n      lvol:vol-7-r-0000000b own=g/1\n"
	w := liveWorldOf(t, 1, "", "  s1 own=a/2\n    head own=h/1\n", here, "")
	_, err := w.onlinePlan(t, Cut{Snapshot: CutName("0000000a")})
	requireRefusal(t, err, "replicas are linked clones of it: vol-7-r-0000000b; rebuild the replica offline, which gives them the copy")
}

// TestCutKeepsItsAttributes: a source that records none lists the cut without them.
func TestCutKeepsItsAttributes(t *testing.T) {
	w := liveWorldOf(t, 1, "", "  s1 own=a/2\n    rebuild-cut-0000000a own=h/1\n      head own=v/1\n", "  flight:00000001 external=cut own=v/1\n", ModeWO)
	w.members[0].Records = false
	cut := Cut{Snapshot: CutName("0000000a"), Attributes: Attributes{CreatedAt: joinedNow}, Joined: Member{Head: "b-flight:00000001", Since: joinedNow}}
	plan, err := w.onlinePlan(t, cut)
	require.NoError(t, err)
	sealed := slices.DeleteFunc(plan.Operations, func(o Operation) bool { return o.Verb != VerbSeal })
	require.Equal(t, cut.Attributes, sealed[1].Attributes)
}
