package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const applied = `
requested base
source
  image:base
    s1 own=a/2 at=3
      s2 own=b/1
        head
destination
  image:base
    s1 own=a/2
      s2 own=b/1
        s3 own=c/1
          head record=base
  flight:0badcafe
  snap:vol-10-snap-a
    lvol:vol-10
`

func ref(uuid string) Ref { return listed(Lvol{UUID: uuid}) }

func TestModelRefusesForbiddenOperations(t *testing.T) {
	s := parseFixture(t, applied)
	source := byUUID(s.source)
	made := Ref{refSnapshot, "s9"}
	for what, c := range map[string]struct {
		before []Operation
		o      Operation
		says   string
	}{
		"a cycle":                                      {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: ref("b-s3")}, ErrCycle.Error()},
		"a cycle of two":                               {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: ref("b-s2")}, ErrCycle.Error()},
		"an lvol on itself":                            {nil, Operation{Verb: VerbGraft, Target: ref("b-s3"), Parent: ref("b-s3")}, ErrCycle.Error()},
		"a leaf on itself":                             {[]Operation{{Verb: VerbDelete, Target: ref("b-head")}}, Operation{Verb: VerbGraft, Target: ref("b-s3"), Parent: ref("b-s3")}, ErrCycle.Error()},
		"the image onto its clone":                     {nil, Operation{Verb: VerbGraft, Target: ref("b-image:base"), Parent: ref("b-s3")}, ErrCycle.Error()},
		"a graft onto a writable lvol":                 {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: ref("b-flight:0badcafe")}, "writable"},
		"a graft onto what is not there":               {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: ref("gone")}, "the parent: no such lvol"},
		"a graft onto what is not made yet":            {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: made}, "the parent: no such lvol"},
		"a graft onto what is not sealed yet":          {[]Operation{{Verb: VerbCreate, Target: made}}, Operation{Verb: VerbGraft, Target: ref("b-s1"), Parent: made}, "writable"},
		"a graft of what is not there":                 {nil, Operation{Verb: VerbGraft, Target: ref("gone")}, "no such lvol"},
		"a graft of a renamed lvol":                    {nil, Operation{Verb: VerbGraft, Target: ref("b-s1"), Name: "vol-1-r-4e5f6a7b-snap-s2"}, "now named vol-1-r-4e5f6a7b-snap-s1"},
		"a delete of a parent":                         {nil, Operation{Verb: VerbDelete, Target: ref("b-s3")}, "it has clones"},
		"a delete of the image":                        {nil, Operation{Verb: VerbDelete, Target: ref("b-image:base")}, "it has clones"},
		"a delete of a renamed lvol":                   {nil, Operation{Verb: VerbDelete, Target: ref("b-head"), Name: "vol-1-r-8c9d0e1f"}, "now named vol-1-r-4e5f6a7b"},
		"a delete of what is not there":                {nil, Operation{Verb: VerbDelete, Target: ref("gone")}, "no such lvol"},
		"a second delete":                              {[]Operation{{Verb: VerbDelete, Target: ref("b-head")}}, Operation{Verb: VerbDelete, Target: ref("b-head")}, "no such lvol"},
		"a delete of a cloned lvol":                    {[]Operation{{Verb: VerbDelete, Target: ref("b-head")}, {Verb: VerbClone, Target: made, Parent: ref("b-s3"), Name: "x"}}, Operation{Verb: VerbDelete, Target: ref("b-s3")}, "it has clones"},
		"a delete of a new parent":                     {[]Operation{{Verb: VerbGraft, Target: ref("b-flight:0badcafe"), Parent: ref("b-s3")}, {Verb: VerbDelete, Target: ref("b-head")}}, Operation{Verb: VerbDelete, Target: ref("b-s3")}, "it has clones"},
		"a second create":                              {[]Operation{{Verb: VerbCreate, Target: made}}, Operation{Verb: VerbCreate, Target: made}, "already exists"},
		"a clone of a writable lvol":                   {nil, Operation{Verb: VerbClone, Target: made, Parent: ref("b-head"), Name: "x"}, "writable"},
		"a clone of what is not there":                 {nil, Operation{Verb: VerbClone, Target: made, Parent: ref("gone"), Name: "x"}, "the parent: no such lvol"},
		"a clone with a taken name":                    {nil, Operation{Verb: VerbClone, Target: made, Parent: ref("b-s1"), Name: "vol-1-r-4e5f6a7b"}, "vol-1-r-4e5f6a7b is taken"},
		"a copy into what is sealed":                   {nil, Operation{Verb: VerbCopy, Target: ref("b-s1"), Source: originOf(source["a-s1"])}, "sealed"},
		"a copy of a writable lvol":                    {nil, Operation{Verb: VerbCopy, Target: ref("b-flight:0badcafe"), Source: originOf(source["a-head"])}, "only a snapshot can be copied"},
		"a copy of what the source has not":            {nil, Operation{Verb: VerbCopy, Target: ref("b-flight:0badcafe"), Source: originOf(Lvol{UUID: "gone"})}, "the source has no lvol gone"},
		"a copy into what has a parent":                {nil, Operation{Verb: VerbCopy, Target: ref("b-head"), Source: originOf(source["a-s1"])}, "has a parent"},
		"a copy into what is not there":                {nil, Operation{Verb: VerbCopy, Target: made, Source: originOf(source["a-s1"])}, "no such lvol"},
		"a seal of what is sealed":                     {nil, Operation{Verb: VerbSeal, Target: ref("b-s1"), Name: "x"}, "sealed already"},
		"a seal under a taken name":                    {nil, Operation{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "vol-1-r-4e5f6a7b-snap-s1"}, "vol-1-r-4e5f6a7b-snap-s1 is taken"},
		"a seal without the parent":                    {nil, Operation{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "x", Parent: ref("b-s1")}, "parent is not"},
		"a seal with a parent that it should not have": {[]Operation{{Verb: VerbGraft, Target: ref("b-flight:0badcafe"), Parent: ref("b-s1")}}, Operation{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "x"}, "parent is not none"},
		"a seal with another parent":                   {[]Operation{{Verb: VerbGraft, Target: ref("b-flight:0badcafe"), Parent: ref("b-s1")}}, Operation{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "x", Parent: ref("b-s2")}, "parent is not"},
		"a seal with too little data":                  {nil, Operation{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "x", Source: originOf(source["a-s1"])}, "0 clusters of its own, its source 2"},
		"a record on what is not there":                {nil, Operation{Verb: VerbRecord, Target: ref("gone")}, "no such lvol"},
		"a record on a renamed lvol":                   {nil, Operation{Verb: VerbRecord, Target: ref("b-head"), Name: "x"}, "now named vol-1-r-4e5f6a7b"},
		"a verb that there is not":                     {nil, Operation{Verb: "resize", Target: ref("b-head")}, "no such verb"},
	} {
		t.Run(what, func(t *testing.T) {
			model := NewStoreModel(s.destination, destinationReplica)
			for _, before := range c.before {
				require.NoError(t, model.Apply(s.source, before))
			}
			was := model.Listing()
			err := model.Apply(s.source, c.o)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, string(c.o.Verb))
			if c.says == ErrCycle.Error() {
				require.ErrorIs(t, err, ErrCycle)
			}
			require.Equal(t, was, model.Listing(), "after an error nothing has changed")
		})
	}
}

func TestApplyKeepsInput(t *testing.T) {
	made := Ref{refSnapshot, "s9"}
	s, same := parseFixture(t, applied), parseFixture(t, applied)
	source := byUUID(s.source)
	for _, o := range []Operation{
		{Verb: VerbCreate, Target: made, Size: 5},
		{Verb: VerbCopy, Target: ref("b-flight:0badcafe"), Source: originOf(source["a-s1"])},
		{Verb: VerbGraft, Target: ref("b-s2")},
		{Verb: VerbGraft, Target: ref("b-s2"), Parent: ref("b-image:base")},
		{Verb: VerbSeal, Target: ref("b-flight:0badcafe"), Name: "x"},
		{Verb: VerbClone, Target: made, Name: "x", Parent: ref("b-s1")},
		{Verb: VerbDelete, Target: ref("b-head")},
		{Verb: VerbRecord, Target: ref("b-head"), Record: "none"},
	} {
		t.Run(string(o.Verb), func(t *testing.T) {
			after, err := Apply(s.destination, s.source, destinationReplica, o)
			require.NoError(t, err)
			require.NotEqual(t, s.destination, after)
			require.Equal(t, same, s)
		})
	}
	_, err := Apply(s.destination, s.source, destinationReplica, Operation{Verb: VerbDelete, Target: ref("b-s1")})
	require.Error(t, err)
	require.Equal(t, same, s)
}

func TestApplyResultOfEachVerb(t *testing.T) {
	s := parseFixture(t, applied)
	source := byUUID(s.source)
	made := Ref{refSnapshot, "s9"}
	model := NewStoreModel(s.destination, destinationReplica)
	do := func(o Operation) Lvol {
		require.NoError(t, model.Apply(s.source, o))
		return byUUID(model.Listing())[uuidOf(o.Target)]
	}

	l := do(Operation{Verb: VerbCreate, Target: made, Size: 7})
	require.EqualValues(t, 7, l.Size)
	require.False(t, l.ReadOnly)
	require.Empty(t, l.Parent)
	of, inFlight := ReplicaInFlight(l.Name)
	require.True(t, inFlight)
	require.Equal(t, destinationReplica, of)

	require.Equal(t, source["a-s1"].Own, do(Operation{Verb: VerbCopy, Target: made, Source: originOf(source["a-s1"])}).Own)
	require.Equal(t, "b-s2", do(Operation{Verb: VerbGraft, Target: made, Parent: ref("b-s2")}).Parent)

	inFlightName := l.Name
	l = do(Operation{Verb: VerbSeal, Target: made, Parent: ref("b-s2"), Name: "sealed", Source: originOf(source["a-s1"]), Attributes: createdAt(3), Image: &ImageRecord{UUID: "i"}})
	require.True(t, l.ReadOnly)
	require.Equal(t, "sealed", l.Name)
	require.Equal(t, createdAt(3), l.Attributes)
	require.Equal(t, ImageRecord{UUID: "i"}, l.Image)
	require.False(t, model.taken(inFlightName)[inFlightName], "its name in flight is free again")

	l = do(Operation{Verb: VerbClone, Target: Ref{refHead, "x"}, Parent: made, Name: "x", Size: 9, Record: "base"})
	require.Equal(t, uuidOf(made), l.Parent)
	require.EqualValues(t, 9, l.Size)
	require.Equal(t, "base", l.Record)

	require.Empty(t, do(Operation{Verb: VerbDelete, Target: Ref{refHead, "x"}}))
	do(Operation{Verb: VerbDelete, Target: made})
	l = do(Operation{Verb: VerbClone, Target: Ref{refHead, "x"}, Name: "x", Record: "none"})
	require.Empty(t, l.Parent, "a clone of nothing is an empty lvol")
	require.Equal(t, "base", do(Operation{Verb: VerbRecord, Target: Ref{refHead, "x"}, Record: "base"}).Record)

	image := Ref{refImage, "base"}
	require.True(t, IsImageInFlight(do(Operation{Verb: VerbCreate, Target: image}).Name))
}

func TestModelWithoutRecordsDropsThem(t *testing.T) {
	s := parseFixture(t, "source\n  s1\n    head\ndestination upstream\n")
	made := Ref{refSnapshot, "s1"}
	model := NewStoreModel(s.destination, destinationReplica)
	for _, o := range []Operation{
		{Verb: VerbCreate, Target: made},
		{Verb: VerbSeal, Target: made, Name: "x", Attributes: createdAt(1), Image: &ImageRecord{UUID: "i"}},
		{Verb: VerbClone, Target: Ref{refHead, "h"}, Name: "h", Record: "base"},
		{Verb: VerbRecord, Target: Ref{refHead, "h"}, Record: "base"},
	} {
		require.NoError(t, model.Apply(s.source, o))
	}
	for _, l := range model.Listing().Lvols {
		require.Zero(t, l.Attributes)
		require.Zero(t, l.Image)
		require.Empty(t, l.Record)
	}
}

func TestModelDrawsFreeInFlightNames(t *testing.T) {
	s := parseFixture(t, applied)
	made := Ref{refSnapshot, "s9"}
	first, err := Apply(s.destination, s.source, destinationReplica, Operation{Verb: VerbCreate, Target: made})
	require.NoError(t, err)
	left := first.Lvols[len(first.Lvols)-1]
	left.UUID = "left by an earlier run"
	s.destination.Lvols = append(s.destination.Lvols, left)
	second, err := Apply(s.destination, s.source, destinationReplica, Operation{Verb: VerbCreate, Target: made})
	require.NoError(t, err)
	require.NotEqual(t, left.Name, second.Lvols[len(second.Lvols)-1].Name)
}

func TestRefsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range []Ref{{}, {refListed, "x"}, {refSnapshot, "x"}, {refImage, "x"}, {refHead, "x"}} {
		require.False(t, seen[r.String()], r)
		seen[r.String()] = true
		_, isListed := r.Listed()
		require.Equal(t, r.kind == refListed, isListed)
		require.Equal(t, r.kind == refImage, r.IsImage())
		require.Equal(t, r.kind == refNone, r.IsNone())
	}
	for stage, name := range map[Stage]string{StageRemoveHead: "remove-head", StageDetach: "detach", StagePrune: "prune", StageBuild: "build", StageCreateHead: "create-head"} {
		require.Equal(t, name, stage.String())
	}
}
