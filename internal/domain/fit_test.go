package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const fitSource = "  image:base\n    s1 own=a/5\n      s2 own=b/3\n        head record=base\n"

func TestUnfitDestinationRefusedWithFigures(t *testing.T) {
	for what, c := range map[string]struct {
		options, source, destination string // what follows the words
		lvols                        string // of the destination
		says                         []string
	}{
		"another cluster size":                {"", "cluster=1048576", "cluster=4194304", "  image:base\n", []string{"disk-b", "4194304", "disk-a", "1048576"}},
		"a smaller cluster size":              {"", "cluster=4194304", "cluster=1048576", "  image:base\n", []string{"4194304", "1048576"}},
		"no cluster size on the source":       {"", "cluster=0", "", "  image:base\n", []string{"cluster size"}},
		"no cluster size on the destination":  {"", "", "cluster=0", "  image:base\n", []string{"cluster size"}},
		"larger blocks":                       {"", "block=512", "block=4096", "  image:base\n", []string{"4096", "512", "disk-a", "disk-b"}},
		"blocks that are no multiple":         {"", "block=4096", "block=520", "  image:base\n", []string{"520", "4096"}},
		"a final name that is too long":       {"", "", "limit=17", "  image:base\n", []string{"vol-1-r-4e5f6a7b-rebuilding-00000000", "36 bytes", "at most 17"}},
		"no room":                             {"", "", "free=7", "  image:base\n", []string{"needs 8", "0 stay in reserve", "7 are free", "frees 0", "disk-b"}},
		"no room for the image":               {"", "", "free=11", "", []string{"needs 12", "11 are free"}},
		"no room but for the reserve":         {"reserve=1", "", "free=17 total=1000", "  image:base\n", []string{"needs 8", "10 stay in reserve", "17 are free"}},
		"a reserve that is rounded up":        {"reserve=1", "", "free=18 total=1001", "  image:base\n", []string{"11 stay in reserve"}},
		"what is deleted is too little":       {"", "", "free=4", "  image:base\n    s1 own=x/3\n", []string{"needs 8", "4 are free", "frees 3"}},
		"what is kept is not freed":           {"", "", "free=2", "  image:base\n    s1 own=a/5\n", []string{"needs 3", "2 are free", "frees 0"}},
		"another's lvol has a final name":     {"", "", "", "  image:base\n  lvol:vol-1-r-4e5f6a7b-snap-s2\n", []string{"vol-1-r-4e5f6a7b-snap-s2", "disk-b", "does not belong to replica vol-1-r-4e5f6a7b"}},
		"the name of a foreign snapshot":      {"", "", "", "  image:base\n  snap:vol-1-r-4e5f6a7b\n", []string{"lvol vol-1-r-4e5f6a7b already exists on"}},
		"a clone of a deleted lvol":           {"", "", "", "  image:base\n    s1 own=x/1\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", []string{"vol-1-r-4e5f6a7b-clone-ep-1", "vol-1-r-4e5f6a7b-snap-s1", "would be deleted"}},
		"a clone of an in-flight lvol":        {"", "", "", "  image:base\n  spacer:0badcafe\n    lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", []string{"clone-ep-1", "rebuilding-0badcafe", "would be deleted"}},
		"a clone of a grafted lvol":           {"", "", "", "  image:base\n  s1 own=a/5\n    lvol:vol-1-r-4e5f6a7b-cloning\n", []string{"vol-1-r-4e5f6a7b-cloning", "snap-s1", "would be changed"}},
		"a clone of a detached lvol":          {"", "", "", "  image:base\n    s2 own=b/3\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", []string{"clone-ep-1", "snap-s2", "would be changed"}},
		"a descendant of a grafted lvol":      {"", "", "", "  image:base\n  s1 own=a/5\n    s2 own=b/3\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n", []string{"clone-ep-1", "snap-s2", "would be changed"}},
		"an image, a clone of a deleted lvol": {"", "", "", "  image:base\n    extra\n      image:other\n", []string{"bi-other", "snap-extra"}},
		"a foreign snapshot, its clone":       {"", "", "", "  image:base\n    extra\n      snap:vol-10-r-4e5f6a7b-snap-a\n", []string{"vol-10-r-4e5f6a7b-snap-a", "snap-extra"}},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, fmt.Sprintf("requested base\noptions %s\nsource %s\n%sdestination %s\n%s", c.options, c.source, fitSource, c.destination, c.lvols))
			_, err := s.plan()
			requireRefusal(t, err, c.says...)
		})
	}
}

// A volume without an image: the ancestor is only detached, and its clone reads other
// bytes from then on.
func TestCloneOfDetachedAncestorRefused(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=a/1\n    head\ndestination\n  snap:vol-10-r-4e5f6a7b-snap-a\n    s1 own=a/1\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n")
	_, err := s.plan()
	requireRefusal(t, err, "clone-ep-1", "snap-s1", "would be changed")
}

func TestPlanAtExactLimits(t *testing.T) {
	for what, c := range map[string]struct{ options, source, destination, lvols string }{
		"exactly enough room":                    {"", "", "free=8", "  image:base\n"},
		"exactly enough, with the reserve":       {"reserve=1", "", "free=18 total=1000", "  image:base\n"},
		"what is deleted makes room":             {"", "", "free=5", "  image:base\n    s1 own=x/3\n"},
		"an extra that is deleted makes room":    {"", "", "free=5", "  image:base\n    extra own=x/3\n"},
		"what is in flight makes room":           {"", "", "free=5", "  image:base\n  flight:0badcafe own=?/3\n"},
		"the old head makes room":                {"", "", "free=5", "  image:base\n    head own=?/3\n"},
		"what is kept needs none":                {"", "", "free=3", "  image:base\n    s1 own=a/5\n"},
		"nothing is copied on a store that full": {"reserve=50", "", "free=0", "  image:base\n  s1 own=a/5\n    s2 own=b/3\n"},
		"smaller blocks":                         {"", "block=4096", "block=512", "  image:base\n"},
		"unknown block sizes":                    {"", "block=0", "block=4096", "  image:base\n"},
		"blocks that the destination hides":      {"", "block=512", "block=0", "  image:base\n"},
		"names just as long as the host takes":   {"", "", "limit=36", "  image:base\n"},
		"no limit of names":                      {"", "", "limit=0", "  image:base\n"},
		"a clone of a snapshot that stays":       {"", "", "", "  image:base\n    s1 own=a/5\n      lvol:vol-1-r-4e5f6a7b-clone-ep-1\n"},
		"a clone of the image":                   {"", "", "", "  image:base\n    lvol:vol-2\n"},
		"a clone of a clone of one that stays":   {"", "", "", "  image:base\n    s1 own=a/5\n      snap:vol-1-r-4e5f6a7b-clone-ep-1-snap-a\n        lvol:vol-1-r-4e5f6a7b-clone-ep-1\n"},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, fmt.Sprintf("requested base\noptions %s\nsource %s\n%sdestination %s\n%s", c.options, c.source, fitSource, c.destination, c.lvols))
			plan := s.mustPlan(t)
			require.Empty(t, s.play(t, plan).violations(t, plan.Base))
		})
	}
}

func TestEveryFinalNameMustFit(t *testing.T) {
	for name, limit := range map[string]int{
		"vol-1-r-4e5f6a7b-snap-" + strings.Repeat("x", 30): 51,
		"bi-" + strings.Repeat("x", 30) + "-disk-store-b":  45,
	} {
		image, snapshot := "base", "s1"
		if strings.HasPrefix(name, "bi-") {
			image = strings.Repeat("x", 30)
		} else {
			snapshot = strings.Repeat("x", 30)
		}
		text := fmt.Sprintf("source\n  image:%s\n    %s own=a/1\n      head\ndestination limit=%d\n", image, snapshot, limit)
		_, err := parseFixture(t, text).plan()
		requireRefusal(t, err, name, fmt.Sprintf("has %d bytes", limit+1), fmt.Sprintf("at most %d", limit))
		_, err = parseFixture(t, strings.Replace(text, fmt.Sprintf("limit=%d", limit), fmt.Sprintf("limit=%d", limit+1), 1)).plan()
		require.NoError(t, err)
	}
}

// The image and a kept snapshot have names that are too long for the destination:
// existing names are allowed.
func TestExistingNamesAlwaysFit(t *testing.T) {
	long := strings.Repeat("x", 60)
	s := parseFixture(t, fmt.Sprintf("source\n  image:%s\n    %s own=a/1\n      head\ndestination limit=36\n  image:%s\n    %s own=a/1\n", long, long, long, long))
	require.NotEmpty(t, s.mustPlan(t).Operations)
}

func TestSystemSnapshotNameMustFitOnBothStores(t *testing.T) {
	text := "source limit=%d\n  image:base\n    s1 own=a/1\n      head own=?/1\ndestination limit=%d\n  image:base\n"
	const name = len("vol-1-r-0a1b2c3d-snap-rebuild-00000000")
	for _, limits := range [][2]int{{name - 1, name}, {name, name - 1}} {
		_, err := parseFixture(t, fmt.Sprintf(text, limits[0], limits[1])).plan()
		requireRefusal(t, err, "-snap-rebuild-", "has 38 bytes", "at most 37")
	}
	require.NotNil(t, parseFixture(t, fmt.Sprintf(text, name, name)).mustPlan(t).SystemSnapshot)
}

func TestSystemSnapshotNameTakenOnSource(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      head own=?/1\ndestination\n  image:base\n")
	name := s.mustPlan(t).SystemSnapshot.LvolName
	s.source.Lvols = append(s.source.Lvols, Lvol{UUID: "other", Name: name, Size: proofCluster})
	_, err := s.plan()
	requireRefusal(t, err, name, "disk-a", "does not belong to replica "+sourceReplica)
}

func TestSystemSnapshotCountsAsNeededSpace(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      head own=?/7\ndestination free=7\n  image:base\n")
	_, err := s.plan()
	requireRefusal(t, err, "needs 8", "7 are free")
}

func TestSizesRoundedUpToClusters(t *testing.T) {
	store := Listing{ClusterSize: 4}
	for size, want := range map[uint64]uint64{0: 0, 1: 1, 4: 1, 5: 2, 8: 2} {
		require.Equal(t, want, store.Clusters(size))
	}
	require.Zero(t, Listing{}.Clusters(5))
}

// longhorn/longhorn#10116: a full disk gave no hint of what could be removed.
func TestField_10116_SpaceErrorNamesGarbage(t *testing.T) {
	const source = "requested none\nsource\n  s1 own=a/5\n    head\ndestination free=2\n"
	for what, c := range map[string]struct {
		there string
		hint  string // "": there is none
	}{
		"nothing else is there":           {"", ""},
		"a leftover of another replica":   {"  lvol:vol-7-r-0a1b2c3d-rebuilding-01234567 own=?/3\n", "; gc would free up to 3 more from leftovers: vol-7-r-0a1b2c3d-rebuilding-01234567"},
		"two leftovers, one on the other": {"  snap:vol-7-r-0a1b2c3d-rebuilding-01234567 own=?/3\n    lvol:vol-7-r-0a1b2c3d-rebuilding-89abcdef own=?/1\n", "; gc would free up to 4 more"},
		"an image that was being fetched": {"  lvol:bi-rebuilding-01234567 own=?/2\n", "; gc would free up to 2 more from leftovers: bi-rebuilding-01234567"},
		"what this very rebuild removes":  {"  flight:01234567 own=?/1\n", ""},
		"an empty leftover":               {"  lvol:vol-7-r-0a1b2c3d-rebuilding-01234567\n", ""},
		"what another engine fills":       {"  lvol:vol-7-r-0a1b2c3d-rebuilding own=?/3\n", ""},
		"a leftover with a clone":         {"  snap:vol-7-r-0a1b2c3d-rebuilding-01234567 own=?/3\n    lvol:vol-7-r-0a1b2c3d\n", ""},
		"another replica":                 {"  snap:vol-7-r-0a1b2c3d-snap-a own=?/3\n    lvol:vol-7-r-0a1b2c3d\n", ""},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := parseFixture(t, source+c.there).plan()
			requireRefusal(t, err, "too little space: the rebuild needs 5 clusters", c.hint)
			require.Equal(t, c.hint == "", !strings.Contains(err.Error(), "gc would free"), "%v", err)
		})
	}
}
