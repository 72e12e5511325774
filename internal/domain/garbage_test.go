package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func garbageOn(t *testing.T, lvols ...Lvol) map[string]string {
	t.Helper()
	found, err := Garbage(Listing{UUID: "u", Name: "disk-1", Lvols: lvols})
	require.NoError(t, err)
	requested := make(map[string]string)
	for _, l := range found {
		requested[l.Lvol.Name+" of "+l.Owner] = l.Stays
	}
	return requested
}

func TestOnlyInFlightLvolsAreGarbage(t *testing.T) {
	require.Equal(t, map[string]string{
		"vol-1-r-4e5f6a7b-rebuilding-0badcafe of vol-1-r-4e5f6a7b": "",
		"bi-rebuilding-00c0ffee of bi-rebuilding-00c0ffee":         "",
		"vol-3-r-0a1b2c3d-rebuilding of vol-3-r-0a1b2c3d":          "Longhorn rebuilds a replica into it, or has left it",
		"bi-base-disk-u-temp-head of bi-base-disk-u-temp-head":     "Longhorn downloads an image into it, or has left it",
	}, garbageOn(t,
		Lvol{UUID: "1", Name: "vol-1-r-4e5f6a7b-rebuilding-0badcafe"},
		Lvol{UUID: "2", Name: "bi-rebuilding-00c0ffee"},
		Lvol{UUID: "3", Name: "vol-3-r-0a1b2c3d-rebuilding"},
		Lvol{UUID: "4", Name: "bi-base-disk-u-temp-head"},
		Lvol{UUID: "5", Name: "vol-1-r-4e5f6a7b"},
		Lvol{UUID: "6", Name: "vol-1-r-4e5f6a7b-snap-s1", ReadOnly: true},
		Lvol{UUID: "7", Name: "bi-base-disk-u", ReadOnly: true},
		Lvol{UUID: "8", Name: "vol-1-r-4e5f6a7b-rebuilding-0badcaf"},
		Lvol{UUID: "9", Name: "vol-1-r-4e5f6a7b-rebuilding-0BADCAFE"},
		Lvol{UUID: "10", Name: "vol-1-r-4e5f6a7b-clone-ep-1"},
	))
}

// gc removed the only record of a head's size and image.
func TestStandInOfStoppedRevertStays(t *testing.T) {
	const standIn = "vol-1-r-4e5f6a7b-rebuilding-0badcafe"
	snapshot := Lvol{UUID: "s", Name: "vol-1-r-4e5f6a7b-snap-s1", Size: 4, ReadOnly: true}
	for what, c := range map[string]struct {
		records bool
		lvols   []Lvol
		stays   bool
	}{
		"the head is gone":                       {true, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8, Record: "base"}}, true},
		"the head is there":                      {true, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8, Record: "base"}, {UUID: "h", Name: "vol-1-r-4e5f6a7b", Parent: "s"}}, false},
		"it has no record":                       {true, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8}}, false},
		"it has data":                            {true, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8, Record: "base", Own: Clusters{Count: 1}}}, false},
		"nothing is recorded":                    {false, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8}}, true},
		"nothing is recorded, the head is there": {false, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8}, {UUID: "h", Name: "vol-1-r-4e5f6a7b", Parent: "s"}}, false},
		"nothing is recorded, it is loose":       {false, []Lvol{{UUID: "l", Name: standIn, Size: 8}}, false},
		"nothing is recorded, it is sealed":      {false, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8, ReadOnly: true}}, false},
		"nothing is recorded, it has data":       {false, []Lvol{{UUID: "l", Name: standIn, Parent: "s", Size: 8, Own: Clusters{Count: 1}}}, false},
		"nothing is recorded, a spacer below":    {false, []Lvol{{UUID: "e", Name: "vol-1-r-4e5f6a7b-rebuilding-00c0ffee", Parent: "s", ReadOnly: true}, {UUID: "l", Name: standIn, Parent: "e", Size: 8}}, false},
	} {
		t.Run(what, func(t *testing.T) {
			found, err := Garbage(Listing{UUID: "u", Records: c.records, Lvols: append([]Lvol{snapshot}, c.lvols...)})
			require.NoError(t, err)
			for _, l := range found {
				if c.stays && l.Lvol.Name == standIn {
					require.Contains(t, l.Stays, "a revert of replica vol-1-r-4e5f6a7b was interrupted")
				} else {
					require.Empty(t, l.Stays, l.Lvol.Name)
				}
			}
		})
	}
}

func TestGarbageIsDeletedLeafFirst(t *testing.T) {
	found, err := Garbage(Listing{UUID: "u", Lvols: []Lvol{
		{UUID: "a", Name: "r-rebuilding-0000000a", ReadOnly: true},
		{UUID: "b", Name: "r-rebuilding-0000000b", Parent: "a", ReadOnly: true},
		{UUID: "c", Name: "r-rebuilding-0000000c", Parent: "b"},
	}})
	require.NoError(t, err)
	var order []string
	for _, l := range found {
		require.Empty(t, l.Stays)
		order = append(order, l.Lvol.UUID)
	}
	require.Equal(t, []string{"c", "b", "a"}, order)
}

// A crash during a graft leaves a spacer with the snapshot as its clone: deleting the
// spacer would merge the two.
func TestSpacerWithClonesStays(t *testing.T) {
	requested := garbageOn(t,
		Lvol{UUID: "a", Name: "r-rebuilding-0000000a", ReadOnly: true},
		Lvol{UUID: "b", Name: "r-rebuilding-0000000b", Parent: "a", ReadOnly: true},
		Lvol{UUID: "s", Name: "r-snap-s1", Parent: "b", ReadOnly: true},
	)
	require.Contains(t, requested["r-rebuilding-0000000b of r"], "r-snap-s1 is its clone")
	require.Contains(t, requested["r-rebuilding-0000000a of r"], "r-rebuilding-0000000b is its clone")
}

func TestUnusedEntryPointsAreGarbage(t *testing.T) {
	entryPoint := func(id string, of Lvol) Lvol {
		of.UUID, of.Name, of.Parent, of.ReadOnly = "e"+id, "vol-9-r-0000000b-clone-ep-"+id, "s", true
		return of
	}
	user := User{Kind: UserExport, Name: "nqn"}
	name := func(id string) string {
		return "vol-9-r-0000000b-clone-ep-" + id + " of vol-9-r-0000000b-clone-ep-" + id
	}
	require.Equal(t, map[string]string{
		name("unused"):            "",
		name("merged"):            "it has 2 clusters of its own",
		name("exported"):          "it is in use: exported as nqn",
		name("degraded"):          "it is degraded and may have unknown clones",
		name("helper-tmp-head"):   "",
		name("written-tmp-head"):  "it has 1 cluster of its own",
		name("snapshot-tmp-head"): "lvol vol-9-r-0000000b-clone-ep-of-helper is its clone: rebuild or repair that lvol's replica, which grafts the lvol onto its right parent",
	}, garbageOn(t,
		Lvol{UUID: "s", Name: "vol-9-r-0000000b-snap-daily", ReadOnly: true},
		entryPoint("used", Lvol{}), Lvol{UUID: "c", Name: "vol-1-r-4e5f6a7b", Parent: "eused"},
		entryPoint("unused", Lvol{}), entryPoint("merged", Lvol{Own: Clusters{Count: 2}}),
		entryPoint("exported", Lvol{UsedBy: user}), entryPoint("degraded", Lvol{Degraded: true}),
		Lvol{UUID: "w", Name: "vol-9-r-0000000b-clone-ep-writable"},
		Lvol{UUID: "h", Name: "vol-9-r-0000000b-clone-ep-helper-tmp-head", Parent: "s"},
		Lvol{UUID: "i", Name: "vol-9-r-0000000b-clone-ep-written-tmp-head", Parent: "s", Own: Clusters{Count: 1}},
		entryPoint("snapshot-tmp-head", Lvol{}), Lvol{UUID: "k", Name: "vol-9-r-0000000b-clone-ep-of-helper", Parent: "esnapshot-tmp-head"},
		Lvol{UUID: "o", Name: "vol-9-r-0000000b-tmp-head", Parent: "s"},
	))
}
