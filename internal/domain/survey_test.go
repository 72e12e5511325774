package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func surveyText(s Survey) string {
	text := ""
	for _, r := range s.Replicas {
		text += "replica " + r.Name
		if r.Head == nil {
			text += " without a head"
		}
		text += ":"
		for _, of := range r.Snapshots {
			text += " " + of.Name
		}
		for _, l := range r.InFlight {
			text += " (" + l.Name + ")"
		}
		text += "\n"
	}
	for _, u := range s.Unclear {
		text += "unclear " + u.Name + "\n"
	}
	for _, b := range s.Images {
		text += fmt.Sprintf("image %s of %d\n", b.Name, len(s.UsersOf(b)))
	}
	for _, l := range s.Filling {
		text += "filling " + l.Name + "\n"
	}
	for _, e := range s.EntryPoints {
		text += strings.TrimSpace(fmt.Sprintf("entry point on %s of %s: %s %s", e.Snapshot, e.Replica, strings.Join(e.Clones, " "), e.Defect)) + "\n"
	}
	for _, l := range s.Others {
		text += "other " + l.Name + "\n"
	}
	return text
}

func TestSurvey(t *testing.T) {
	for what, c := range map[string]struct{ store, want string }{
		"an empty store": {"", ""},
		"replicas, whole ones and what is left of others": {
			"  image:base\n    s1\n      s2\n        head\n    snap:vol-9-r-0a1b2c3d-snap-a\n  lvol:vol-3-rebuilding-0badcafe\n  lvol:vol-2\n",
			"replica vol-1-r-4e5f6a7b: s1 s2\nreplica vol-2:\nreplica vol-3 without a head: (vol-3-rebuilding-0badcafe)\nreplica vol-9-r-0a1b2c3d without a head: a\nimage base of 2\n",
		},
		"a name that is the beginning of another's": {
			"  snap:vol-1-snap-a\n    lvol:vol-1\n  snap:vol-10-snap-a\n    lvol:vol-10\n",
			"replica vol-1: a\nreplica vol-10: a\n",
		},
		"the property of others": {
			"  filling:base\n  lvol:bi-rebuilding-0badcafe\n  lvol:vol-1-clone-ep-1\n  lvol:vol-1-cloning\n  snap:scratch\n",
			"filling bi-base-disk-store-b-temp-head\nfilling bi-rebuilding-0badcafe\nother scratch\nother vol-1-clone-ep-1\nother vol-1-cloning\n",
		},
		"entry points": {
			"  snap:vol-9-r-0000000b-snap-a\n    lvol:vol-9-r-0000000b\n    snap:vol-9-r-0000000b-clone-ep-a\n      s1\n        head\n      lvol:x-cloning\n      s2\n  snap:vol-9-r-0000000b-clone-ep-b degraded\n    lvol:vol-8-clone-ep-a-tmp-head\n",
			"replica vol-1-r-4e5f6a7b: s1 s2\nreplica vol-9-r-0000000b: a\nentry point on a of vol-9-r-0000000b: vol-1-r-4e5f6a7b x-cloning\nentry point on b of vol-9-r-0000000b: vol-8-clone-ep-a-tmp-head is degraded\nother vol-8-clone-ep-a-tmp-head\nother x-cloning\n",
		},
		"a snapshot whose name has -snap- in it, told by its head": {
			"  snap:vol-1-snap-x-snap-y\n    lvol:vol-1\n",
			"replica vol-1: x-snap-y\n",
		},
		"the same, told the other way": {
			"  snap:vol-1-snap-x-snap-y\n    lvol:vol-1-snap-x\n",
			"replica vol-1-snap-x: y\n",
		},
		"the same, loose: the shortest replica name counts": {
			"  snap:vol-1-snap-x-snap-y\n",
			"replica vol-1 without a head: x-snap-y\n",
		},
		"the same, loose, beside both replicas": {
			"  snap:vol-1-snap-x-snap-y\n  snap:vol-1-snap-a\n  lvol:vol-1-snap-x\n  snap:vol-2-snap-a\n",
			"replica vol-1-snap-x:\nreplica vol-2 without a head: a\nunclear vol-1\n",
		},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "the same, loose, beside both replicas" {
				survey, err := NewSurvey(storeOf(t, c.store))
				require.NoError(t, err)
				require.Len(t, survey.Unclear, 2, surveyText(survey))
				require.Contains(t, survey.Unclear[0].Reason, "vol-1-snap-x-snap-y")
				require.Len(t, survey.Replicas, 1, "what is clear stays clear")
				require.Empty(t, survey.Others)
				return
			}
			survey, err := NewSurvey(storeOf(t, c.store))
			require.NoError(t, err)
			require.Equal(t, c.want, surveyText(survey))
		})
	}
}

func TestSurveyRefusesCycle(t *testing.T) {
	store := storeOf(t, "  s1\n    s2\n")
	store.Lvols[0].Parent = store.Lvols[1].UUID
	_, err := NewSurvey(store)
	requireRefusal(t, err, "disk-b", "cycle")
}

// TestSurveyListsEveryLvolOnce: on any store, every lvol belongs to exactly one replica
// or image, is an entry point, or belongs to none.
func TestSurveyListsEveryLvolOnce(t *testing.T) {
	names := []string{"vol-1", "vol-1-snap-a", "vol-1-snap-a-snap-b", "vol-1-snap-a-snap-b-snap-c", "vol-10", "vol-1-rebuilding", "vol-1-snap-a-rebuilding-0badcafe", "bi-base-disk-store-b", "bi-rebuilding-0badcafe", "vol-1-clone-ep-1", "x-snap-"}
	rapid.Check(t, func(t *rapid.T) {
		store := fixtureStore("b")
		for i, name := range rapid.Permutation(names).Draw(t, "names")[:rapid.IntRange(0, len(names)).Draw(t, "how many")] {
			l := Lvol{UUID: fmt.Sprint("u", i), Name: name, Size: proofSize, ReadOnly: rapid.Bool().Draw(t, "snapshot")}
			if i > 0 && rapid.Bool().Draw(t, "hangs") {
				l.Parent = fmt.Sprint("u", rapid.IntRange(0, i-1).Draw(t, "on"))
			}
			store.Lvols = append(store.Lvols, l)
		}
		survey, err := NewSurvey(store)
		require.NoError(t, err)
		times := make(map[string]int)
		for _, r := range survey.Replicas {
			if r.Head != nil {
				times[r.Head.UUID]++
			}
			for _, s := range r.Snapshots {
				times[s.Lvol.UUID]++
			}
			for _, l := range r.InFlight {
				times[l.UUID]++
			}
		}
		for _, l := range append(survey.Filling, survey.Others...) {
			times[l.UUID]++
		}
		for _, e := range survey.EntryPoints {
			times[e.Lvol.UUID]++
		}
		for _, b := range survey.Images {
			times[b.Lvol.UUID]++
		}
		for _, l := range store.Lvols {
			if len(survey.Unclear) == 0 {
				require.Equal(t, 1, times[l.UUID], "%s in\n%s", l.Name, surveyText(survey))
			} else {
				require.LessOrEqual(t, times[l.UUID], 1, "%s in\n%s", l.Name, surveyText(survey))
			}
		}
	})
}

func TestVolumeOfReplica(t *testing.T) {
	for name, want := range map[string]string{
		"vol-1-r-4e5f6a7b": "vol-1", "pvc-8f5f-r-0badcafe": "pvc-8f5f", "a-r-b-r-c": "a-r-b",
		"vol-1": "", "-r-0a1b2c3d": "", "vol-1-r-": "", "": "",
	} {
		volume, ok := VolumeOfReplica(name)
		require.Equal(t, want != "", ok, name)
		require.Equal(t, want, volume, name)
	}
}
