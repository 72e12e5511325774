package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A volume vol-9, an entry point on its snapshot daily, and a linked clone of it.
const (
	dailyTree = "  snap:vol-9-r-0000000b-snap-weekly own=w/1\n    snap:vol-9-r-0000000b-snap-daily own=d/2\n      lvol:vol-9-r-0000000b\n"
	entryAt   = "      snap:vol-9-r-0000000b-clone-ep-daily\n"
	onEntry   = "        s1 own=a/2\n          s2 own=b/1\n            head record=clone:vol-9@daily\n"

	weeklyName = "vol-9-r-0000000b-snap-weekly"
	entryName  = "vol-9-r-0000000b-clone-ep-daily"
	dailyName  = "vol-9-r-0000000b-snap-daily"
)

// looseClone is that clone without a parent, looseEntry all of it under a loose entry point.
var (
	looseClone = outdented(onEntry, "      ")
	looseEntry = "  snap:" + entryName + "\n" + outdented(onEntry, "    ")
)

func outdented(drawn, by string) string {
	return strings.ReplaceAll(strings.TrimPrefix(drawn, by), "\n"+by, "\n")
}

func unrecorded(drawn string) string {
	return strings.ReplaceAll(drawn, " record=clone:vol-9@daily", "")
}

func violationTexts(all []Violation) (texts []string) {
	for _, v := range all {
		texts = append(texts, fmt.Sprintf("%s (repairable: %t)", v, v.Repairable))
	}
	return texts
}

// L#7794, L#13714: an audit that knows images only reports every linked clone.
func TestField_7794_HealthyLinkedCloneIsHealthy(t *testing.T) {
	for what, drawn := range map[string]string{
		"with a record":             dailyTree + entryAt + onEntry,
		"known by lineage":          dailyTree + entryAt + unrecorded(onEntry),
		"a head alone":              dailyTree + entryAt + "        head\n",
		"beside another clone":      dailyTree + entryAt + onEntry + "        snap:vol-2-r-0000000b-snap-a\n          lvol:vol-2-r-0000000b\n",
		"of a volume with an image": "  image:os\n  " + strings.ReplaceAll(strings.TrimSuffix(dailyTree+entryAt+onEntry, "\n"), "\n", "\n  ") + "\n",
	} {
		t.Run(what, func(t *testing.T) {
			a := auditOf(t, drawn, Base{})
			require.Empty(t, violationTexts(a.Violations))
			require.Equal(t, CloneBase("vol-9", "daily"), a.Base)
			v := AuditVolume(Base{}, a.Replica)
			require.False(t, v.Wrong())
		})
	}
}

// L#13714: nor is the source volume wrong because of its clones; they are told.
func TestField_13714_SourceOfLinkedClonesIsHealthy(t *testing.T) {
	r, err := NewReplica(storeOf(t, dailyTree+entryAt+onEntry), "vol-9-r-0000000b")
	require.NoError(t, err)
	a := Audit(r, NoBase())
	require.Empty(t, a.Violations)
	require.Contains(t, strings.Join(a.Notices, "\n"), "entry point "+entryName+" is a clone of "+dailyName+"; its linked clones: vol-1-r-4e5f6a7b")
}

// The source volume's audit finds its entry point on the wrong parent. What it reads itself is
// right, so its own repair has nothing to do.
func TestEntryPointWithWrongParentFoundFromItsSource(t *testing.T) {
	audited := func(drawn string) ReplicaAudit {
		r, err := NewReplica(storeOf(t, drawn), "vol-9-r-0000000b")
		require.NoError(t, err)
		return Audit(r, NoBase())
	}
	a := audited(dailyTree + looseEntry)
	require.Equal(t, []string{
		entryName + ": entry-point: it has no parent instead of " + dailyName + ", so its linked clones read wrong bytes: vol-1-r-4e5f6a7b: repair one of them (repairable: false)",
	}, violationTexts(a.Violations))
	plan, err := PlanRepair(a.Replica, NoBase())
	require.NoError(t, err)
	require.Empty(t, plan.Warnings)
	for _, o := range plan.Operations {
		require.Equal(t, VerbRecord, o.Verb)
	}

	a = audited(dailyTree + strings.Replace(looseEntry, entryName, entryName+" size=7", 1))
	require.Len(t, a.Violations, 1)
	require.NotContains(t, a.Violations[0].Detail, "repair", "a graft does not cure it")

	unused := dailyTree + "  snap:" + entryName + "\n"
	a = audited(unused)
	require.Empty(t, a.Violations, "nobody reads it")
	require.Contains(t, strings.Join(a.Notices, "\n"), "entry point "+entryName+" has no parent instead of "+dailyName+", but has no linked clones: remove it (gc)")
	_, err = PlanCreation(storeOf(t, unused), destinationReplica, 8<<20, CloneBase("vol-9", "daily"))
	requireRefusal(t, err, entryName, "remove it first (gc)")
	_, err = PlanCreation(storeOf(t, dailyTree+looseEntry), "vol-2-r-4e5f6a7b", 8<<20, CloneBase("vol-9", "daily"))
	requireRefusal(t, err, entryName, "repair a linked clone of it first", "delete these (replica delete), and then it (gc)")
}

func TestAuditOfLinkedClones(t *testing.T) {
	daily := CloneBase("vol-9", "daily")
	const lost = "s1: ancestor-parent: lvol vol-1-r-4e5f6a7b-snap-s1 has %s instead of clone:vol-9@daily"
	const onSnapshot = ": the volumes are no longer isolated, since deleting that snapshot would merge it into this lvol"
	for what, c := range map[string]struct {
		store     string
		requested Base
		want      []string
	}{
		"the ancestor lost it": {dailyTree + entryAt + looseClone, Base{}, []string{
			fmt.Sprintf(lost, "no parent") + " (repairable: true)",
		}},
		"by request": {dailyTree + entryAt + unrecorded(looseClone), daily, []string{
			fmt.Sprintf(lost, "no parent") + " (repairable: true)",
		}},
		"a head without snapshots lost it": {dailyTree + entryAt + "  head record=clone:vol-9@daily\n", Base{}, []string{
			"head: ancestor-parent: lvol vol-1-r-4e5f6a7b has no parent instead of clone:vol-9@daily (repairable: true)",
		}},
		"the ancestor is on the snapshot": {dailyTree + entryAt + "      s1 own=a/2\n        head\n", Base{}, []string{
			fmt.Sprintf(lost, "lvol:"+dailyName) + onSnapshot + " (repairable: true)",
		}},
		"it is on the snapshot, and the entry point is gone": {dailyTree + "      s1 own=a/2\n        head\n", Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " is not on lvstore disk-b (repairable: true)",
			fmt.Sprintf(lost, "lvol:"+dailyName) + onSnapshot + " (repairable: true)",
		}},
		"the entry point is gone": {dailyTree + looseClone, Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " is not on lvstore disk-b (repairable: true)",
			fmt.Sprintf(lost, "no parent") + " (repairable: true)",
		}},
		"the snapshot is gone, too": {"  lvol:vol-9-r-0000000b\n" + looseClone, Base{}, []string{
			"clone:vol-9@daily: base: it has no entry point, and none can be made: replica vol-9-r-0000000b on lvstore disk-b has no snapshot daily, whose linked clone this volume is: rebuild that replica first (repairable: false)",
			fmt.Sprintf(lost, "no parent") + " (repairable: false)",
		}},
		"the entry point is loose": {dailyTree + looseEntry, Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has no parent instead of " + dailyName + " (repairable: true)",
		}},
		"both are loose": {dailyTree + "  snap:vol-9-r-0000000b-clone-ep-daily\n" + looseClone, Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has no parent instead of " + dailyName + " (repairable: true)",
			fmt.Sprintf(lost, "no parent") + " (repairable: true)",
		}},
		"the entry point is on another snapshot": {strings.Replace(dailyTree, "      lvol", "    snap:vol-9-r-0000000b-clone-ep-daily\n      s1 own=a/2\n        head\n    lvol", 1), Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has vol-9-r-0000000b-snap-weekly instead of " + dailyName + " as its parent (repairable: true)",
		}},
		"the entry point has another size": {dailyTree + "  snap:vol-9-r-0000000b-clone-ep-daily size=7\n    head\n", Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has no parent instead of " + dailyName + " (repairable: false)",
		}},
		"its snapshot was merged into the entry point": {"  snap:vol-9-r-0000000b-clone-ep-daily own=d/2\n    head\n  lvol:vol-9-r-0000000b\n", Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has 2 clusters of its own: its snapshot was merged into it, or it was written (repairable: false)",
		}},
		"the entry point is degraded": {dailyTree + "  snap:vol-9-r-0000000b-clone-ep-daily degraded\n" + looseClone, Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b is degraded (repairable: false)",
			fmt.Sprintf(lost, "no parent") + " (repairable: false)",
		}},
		"the snapshot reads through the entry point": {"  snap:vol-9-r-0000000b-clone-ep-daily\n    snap:vol-9-r-0000000b-snap-daily own=d/2\n      lvol:vol-9-r-0000000b\n    head\n", Base{}, []string{
			"clone:vol-9@daily: base: entry point " + entryName + " on lvstore disk-b has no parent instead of " + dailyName + " (repairable: false)",
		}},
		"an ancestor that the source volume reads through": {"  s1\n    head record=clone:vol-9@daily\n    snap:vol-9-r-0000000b-snap-daily own=d/2\n      lvol:vol-9-r-0000000b\n      snap:vol-9-r-0000000b-clone-ep-daily\n", Base{}, []string{
			fmt.Sprintf(lost, "no parent") + " (repairable: false)",
		}},
		"a base that is too large": {dailyTree + entryAt + "  head size=7 record=clone:vol-9@daily\n", Base{}, []string{
			"clone:vol-9@daily: size: it has 8388608 bytes, more than the 7340032 of lvol vol-1-r-4e5f6a7b, whose parent it must be (repairable: false)",
			"head: ancestor-parent: lvol vol-1-r-4e5f6a7b has no parent instead of clone:vol-9@daily (repairable: false)",
		}},
		"an entry point of another snapshot": {dailyTree + strings.ReplaceAll(entryAt, "daily", "hourly") + onEntry, Base{}, []string{
			"base: base: the record on head vol-1-r-4e5f6a7b says snapshot daily of volume vol-9, but the lineage of replica vol-1-r-4e5f6a7b says snapshot hourly of volume vol-9 (repairable: false)",
		}},
		"an entry point of another volume": {dailyTree + entryAt + unrecorded(onEntry), CloneBase("vol-8", "daily"), []string{
			"base: base: the request says snapshot daily of volume vol-8, but the lineage of replica vol-1-r-4e5f6a7b says snapshot daily of volume vol-9 (repairable: false)",
		}},
		"on another snapshot itself": {dailyTree + "    s1 own=a/2\n      head record=clone:vol-9@daily\n", Base{}, []string{
			"base: base: the record on head vol-1-r-4e5f6a7b says snapshot daily of volume vol-9, but the lineage of replica vol-1-r-4e5f6a7b says snapshot weekly of volume vol-9 (repairable: false)",
		}},
		"a snapshot of a replica of the same volume": {"  snap:vol-1-r-0000000b-snap-x\n    head record=none\n", Base{}, []string{
			"head: parent: the parent of lvol vol-1-r-4e5f6a7b is vol-1-r-0000000b-snap-x, which is no snapshot of replica vol-1-r-4e5f6a7b (repairable: false)",
		}},
	} {
		t.Run(what, func(t *testing.T) {
			require.Equal(t, c.want, violationTexts(auditOf(t, c.store, c.requested).Violations))
		})
	}
}

func TestRepairsOfLinkedClones(t *testing.T) {
	const graftS1 = "build: graft b-s1 on b-snap:" + entryName + ", named vol-1-r-4e5f6a7b-snap-s1"
	const graftEntry = "build: graft b-snap:" + entryName + " on b-snap:" + dailyName + ", named " + entryName
	made := []string{
		"build: create (new entry point " + entryName + "), 8 clusters long",
		"build: graft (new entry point " + entryName + ") on b-snap:" + dailyName + ", after [0]",
		"build: seal (new entry point " + entryName + ") on b-snap:" + dailyName + ", named " + entryName + ", created 00:00 by the system, after [1]",
		"build: graft b-s1 on (new entry point " + entryName + "), named vol-1-r-4e5f6a7b-snap-s1, after [2]",
	}
	for what, c := range map[string]struct {
		store string
		want  []string
		warns []string
	}{
		"nothing":                         {dailyTree + entryAt + onEntry, nil, nil},
		"the ancestor lost it":            {dailyTree + entryAt + looseClone, []string{graftS1}, []string{"while s1 had a wrong parent"}},
		"the ancestor is on the snapshot": {dailyTree + entryAt + "      s1\n        head record=clone:vol-9@daily\n", []string{graftS1}, nil},
		"the ancestor is on the snapshot, without a record": {
			dailyTree + entryAt + "      s1\n        head\n",
			[]string{graftS1, "create-head: record b-head, named vol-1-r-4e5f6a7b, records clone:vol-9@daily"},
			nil,
		},
		"the entry point is gone":            {dailyTree + looseClone, made, []string{"while s1 had a wrong parent"}},
		"gone, the ancestor on the snapshot": {dailyTree + "      s1\n        head record=clone:vol-9@daily\n", made, nil},
		"the entry point is loose":           {dailyTree + looseEntry, []string{graftEntry}, []string{"while " + entryName + " had a wrong parent"}},
		"with other linked clones": {
			dailyTree + looseEntry + "    snap:vol-2-r-0000000b-snap-a\n      lvol:vol-2-r-0000000b\n",
			[]string{graftEntry},
			[]string{"also changes what its other linked clones read, and what they wrote meanwhile is unproven, too: vol-2-r-0000000b", "while " + entryName + " had"},
		},
		"both are loose": {dailyTree + "  snap:" + entryName + "\n" + looseClone, []string{graftEntry, graftS1 + ", after [0]"}, []string{"while " + entryName + ", s1 had a wrong parent"}},
		"it is on another snapshot": {
			strings.Replace(dailyTree, "      lvol", "    snap:"+entryName+"\n      s1 own=a/2\n        head record=clone:vol-9@daily\n    lvol", 1),
			[]string{graftEntry},
			[]string{"while " + entryName + " had a wrong parent, readers of replica vol-1-r-4e5f6a7b saw zeros or other bytes"},
		},
		"a spacer on the entry point": {
			dailyTree + entryAt + "        spacer:0badcafe\n          s1\n            head record=clone:vol-9@daily\n",
			[]string{graftS1, "build: delete b-spacer:0badcafe, named vol-1-r-4e5f6a7b-rebuilding-0badcafe, after [0]"},
			nil,
		},
	} {
		t.Run(what, func(t *testing.T) {
			store := storeOf(t, c.store)
			plan, err := repairOf(t, store, Base{})
			require.NoError(t, err)
			var got []string
			for _, o := range plan.Operations {
				got = append(got, operationText(o))
			}
			require.Equal(t, c.want, got)
			require.Len(t, plan.Warnings, len(c.warns), plan.Warnings)
			for i, warns := range c.warns {
				require.Contains(t, plan.Warnings[i], warns)
			}
			require.Zero(t, plan.CopiedClusters())
			after := fixture{destination: store}.play(t, plan).destination
			r, err := NewReplica(after, destinationReplica)
			require.NoError(t, err)
			require.Empty(t, Audit(r, Base{}).Violations)
		})
	}
}

func TestRefusedRepairsOfLinkedClones(t *testing.T) {
	for what, c := range map[string]struct {
		store string
		says  []string
	}{
		"lineage and record disagree": {
			strings.ReplaceAll(dailyTree+entryAt, "daily", "hourly") + onEntry,
			[]string{"the record on head vol-1-r-4e5f6a7b says snapshot daily of volume vol-9", "the lineage of replica vol-1-r-4e5f6a7b says snapshot hourly of volume vol-9"},
		},
		"on another snapshot itself": {dailyTree + "    s1\n      head record=clone:vol-9@daily\n", []string{"snapshot daily of volume vol-9", "snapshot weekly of volume vol-9"}},
		"the snapshot is gone":       {looseClone, []string{"no replica of volume vol-9 is on lvstore disk-b", "a graft does not repair that"}},
		"an entry point with data":   {dailyTree + "  snap:" + entryName + " own=d/2\n    head\n", []string{"2 clusters of its own: its snapshot was merged into it", "a graft does not repair that"}},
		"something else reads the entry point": {
			dailyTree + looseEntry + "    lvol:x-cloning\n",
			[]string{"x-cloning on lvstore disk-b reads through entry point " + entryName, "no linked clone of volume vol-9"},
		},
		"the source volume reads the entry point": {dailyTree + looseEntry + "    snap:vol-9-r-0000000b-snap-late\n", []string{"vol-9-r-0000000b on lvstore disk-b reads through entry point"}},
		"another clone is in use":                 {dailyTree + looseEntry + "    lvol:vol-2-r-0000000b export=nqn\n", []string{"vol-2-r-0000000b on lvstore disk-b is in use", "another parent while it is read"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := repairOf(t, storeOf(t, c.store), Base{})
			requireRefusal(t, err, c.says...)
		})
	}
}

// A repair learns the base from a replica on another host, even if that has lost its entry
// point, too.
func TestRepairLearnsLinkedCloneFromOtherReplica(t *testing.T) {
	for what, other := range map[string]string{
		"a healthy one":   strings.ReplaceAll(dailyTree+entryAt+unrecorded(onEntry), "0000000b", "0000000a"),
		"on the snapshot": strings.ReplaceAll(dailyTree+"      s1 own=a/2\n        head\n", "0000000b", "0000000a"),
	} {
		t.Run(what, func(t *testing.T) {
			plan, err := repairOf(t, storeOf(t, dailyTree+entryAt+unrecorded(looseClone)), Base{}, replicasOf(t, other)...)
			require.NoError(t, err)
			require.Equal(t, CloneBase("vol-9", "daily"), plan.Base)
		})
	}
}

const otherClone = "vol-2-r-0000000b" // a linked clone of the same snapshot

// drawHurtClone draws a linked clone that may have lost its base, beside another one that
// shares the entry point, with leftovers of earlier repairs.
func drawHurtClone(c chooser) (Listing, bool) {
	s := fixtureStore("b")
	add := func(l Lvol) string {
		l.UUID, l.Size = "u-"+l.Name, proofSize
		s.Lvols = append(s.Lvols, l)
		return l.UUID
	}
	weekly := add(Lvol{Name: weeklyName, ReadOnly: true, Own: ownClusters("weekly", 1)})
	daily := add(Lvol{Name: dailyName, Parent: weekly, ReadOnly: true, Own: ownClusters("daily", 2)})
	add(Lvol{Name: "vol-9-r-0000000b", Parent: daily})
	on := []string{"", daily}[c.choose(2)]
	if place := c.choose(4); place > 0 {
		entry := add(Lvol{Name: entryName, Parent: []string{"", weekly, daily}[place-1], ReadOnly: true})
		if c.choose(2) == 1 {
			add(Lvol{Name: otherClone, Parent: entry, Own: Clusters{}})
		}
		if on == "" && c.choose(2) == 1 {
			on = entry
		}
	}
	if on != daily && c.choose(2) == 1 {
		on = add(Lvol{Name: InFlightLvolName(destinationReplica, "0000aaaa"), Parent: on, ReadOnly: true})
	}
	if c.choose(2) == 1 {
		on = add(Lvol{Name: SnapshotLvolName(destinationReplica, "s0"), Parent: on, ReadOnly: true, Own: ownClusters("s0", 1)})
	}
	add(Lvol{Name: destinationReplica, Parent: on, Own: ownClusters("head", uint64(c.choose(2))), Record: []string{"", "clone:vol-9@daily"}[c.choose(2)]})
	switch c.choose(3) {
	case 1:
		add(Lvol{Name: InFlightLvolName(destinationReplica, "0000cccc"), Parent: daily})
	case 2:
		add(Lvol{Name: InFlightLvolName(destinationReplica, "0000cccc"), Own: ownClusters("work", 1)})
	}
	return s, true
}

func TestBasesOfLinkedClonesCompared(t *testing.T) {
	tree := "  image:os\n  " + strings.ReplaceAll(strings.TrimSuffix(dailyTree+entryAt+onEntry, "\n"), "\n", "\n  ") + "\n"
	for what, c := range map[string]struct{ old, new, want string }{
		"equal":               {"", "", ""},
		"other data":          {"own=d/2", "own=x/2", "clone:vol-9@daily: base: as on lvstore disk-a: A, B; snapshot daily of volume vol-9 has other data: C"},
		"more data":           {"own=w/1", "own=w/2", "snapshot weekly of volume vol-9 has 2 clusters of its own instead of 1: C"},
		"another image":       {"image:os", "image:os sha=x", "backing image os differs: checksum"},
		"unproven":            {"own=d/2", "own=?/2", ""},
		"another snapshot":    {"daily", "hourly", "base: base: snapshot daily of volume vol-9: A, B; snapshot hourly of volume vol-9: C"},
		"a clone of an image": {tree, "  image:os\n    s1 own=a/2\n      s2 own=b/1\n        head record=os\n", "base: base: snapshot daily of volume vol-9: A, B; backing image os: C"},
	} {
		t.Run(what, func(t *testing.T) {
			replicas := replicasOf(t, tree, tree, strings.ReplaceAll(tree, c.old, c.new))
			v := AuditVolume(Base{}, replicas...)
			names := strings.NewReplacer("vol-1-r-4e5f6a7b on disk-a", "A", "vol-1-r-4e5f6a7b on disk-b", "B", "vol-1-r-4e5f6a7b on disk-c", "C")
			var texts []string
			for _, d := range v.Differences {
				texts = append(texts, names.Replace(d.String()))
			}
			unverified := ""
			if what == "unproven" {
				unverified = "snapshot daily of volume vol-9 on lvstore disk-c is assumed to be the one on lvstore disk-a because of its names, sizes and cluster counts; its bytes are unverified, since there are no checksums"
			}
			require.Equal(t, unverified, strings.Join(v.Notices, "\n"))
			if c.want == "" {
				require.Empty(t, texts)
				return
			}
			require.Len(t, texts, 1)
			require.Contains(t, texts[0], c.want)
		})
	}
}

// A replica on another host identifies the base, even by an ancestor on the snapshot itself.
func TestField_7794_HealthyReplicaExposesCloneWithoutBase(t *testing.T) {
	lost := dailyTree + entryAt + unrecorded(looseClone)
	require.False(t, AuditVolume(Base{}, replicasOf(t, lost)...).Wrong())
	v := AuditVolume(Base{}, replicasOf(t, strings.ReplaceAll(dailyTree+entryAt+unrecorded(onEntry), "0000000b", "0000000a"), lost)...)
	require.Equal(t, CloneBase("vol-9", "daily"), v.Base)
	require.Empty(t, v.Replicas[0].Violations)
	require.Len(t, v.Replicas[1].Violations, 1)
	require.True(t, v.Replicas[1].Violations[0].Repairable)
	require.Empty(t, v.Differences)
}

func TestBaseLvols(t *testing.T) {
	r, err := NewReplica(storeOf(t, dailyTree+entryAt+onEntry+"  image:os\n"), destinationReplica)
	require.NoError(t, err)
	var names []string
	for _, l := range r.BaseLvols() {
		names = append(names, l.Name)
	}
	require.Equal(t, []string{entryName, dailyName, weeklyName}, names)
}
