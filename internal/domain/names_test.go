package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestReadingsOfNames(t *testing.T) {
	head := func(replica string) reading { return reading{replica: replica, role: roleHead} }
	snapshot := func(replica, name string) reading {
		return reading{replica: replica, role: roleSnapshot, snapshot: name}
	}
	inFlight := func(replica string) reading { return reading{replica: replica, role: roleInFlight} }
	for what, c := range map[string]struct {
		name     string
		readOnly bool
		want     []reading
	}{
		"a head":                                    {"vol-1", false, []reading{head("vol-1")}},
		"a head that is called like a snapshot":     {"vol-1-snap-x", false, []reading{head("vol-1-snap-x")}},
		"a snapshot":                                {"vol-1-snap-x", true, []reading{snapshot("vol-1", "x")}},
		"a snapshot with -snap- in its name":        {"vol-1-snap-x-snap-y", true, []reading{snapshot("vol-1", "x-snap-y"), snapshot("vol-1-snap-x", "y")}},
		"one with three":                            {"v-snap-x-snap-y-snap-z", true, []reading{snapshot("v", "x-snap-y-snap-z"), snapshot("v-snap-x", "y-snap-z"), snapshot("v-snap-x-snap-y", "z")}},
		"infixes that share a dash":                 {"v-snap-snap-x", true, []reading{snapshot("v", "snap-x"), snapshot("v-snap", "x")}},
		"a replica called like a word":              {"snap-snap-x", true, []reading{snapshot("snap", "x")}},
		"a snapshot without a name":                 {"vol-1-snap-", true, nil},
		"a snapshot without a replica":              {"-snap-x", true, nil},
		"something read-only that says nothing":     {"vol-1", true, nil},
		"ours in flight":                            {"vol-1-rebuilding-0badcafe", false, []reading{inFlight("vol-1")}},
		"ours in flight, sealed: a spacer":          {"vol-1-rebuilding-0badcafe", true, []reading{inFlight("vol-1")}},
		"Longhorn's in flight":                      {"vol-1-rebuilding", false, []reading{inFlight("vol-1")}},
		"in flight, with too few digits":            {"vol-1-rebuilding-0badcaf", false, []reading{head("vol-1-rebuilding-0badcaf")}},
		"in flight, with too many digits":           {"vol-1-rebuilding-0badcafe0", false, []reading{head("vol-1-rebuilding-0badcafe0")}},
		"in flight, with capital digits":            {"vol-1-rebuilding-0BADCAFE", false, []reading{head("vol-1-rebuilding-0BADCAFE")}},
		"in flight, with no digits":                 {"vol-1-rebuilding-0badcafg", false, []reading{head("vol-1-rebuilding-0badcafg")}},
		"in flight, without a dash":                 {"vol-1-rebuilding0badcafe1", false, []reading{head("vol-1-rebuilding0badcafe1")}},
		"in flight of nobody":                       {"-rebuilding", false, []reading{head("-rebuilding")}},
		"the phantom that is rebuilt itself":        {"vol-1-rebuilding-rebuilding-0badcafe", false, []reading{inFlight("vol-1-rebuilding")}},
		"a spacer of a replica that says -snap-":    {"vol-1-snap-x-rebuilding-0badcafe", true, []reading{inFlight("vol-1-snap-x"), snapshot("vol-1", "x-rebuilding-0badcafe")}},
		"in flight of a replica that says -snap-":   {"vol-1-snap-x-rebuilding-0badcafe", false, []reading{inFlight("vol-1-snap-x")}},
		"a linked clone":                            {"vol-1-clone-ep-1", false, nil},
		"a linked clone's snapshot":                 {"vol-1-clone-ep-1-snap-x", true, nil},
		"a clone that is made":                      {"vol-1-cloning", false, nil},
		"a clone's helper":                          {"vol-1-cloning-tmp", false, nil},
		"in flight of a clone that is made":         {"vol-1-cloning-rebuilding-0badcafe", false, nil},
		"a snapshot of a clone that is made":        {"vol-1-r-4e5f6a7b-cloning-snap-x", true, nil},
		"a head that another feature makes":         {"vol-1-tmp-head", false, nil},
		"a shard":                                   {"shard-vol-1-0", false, nil},
		"a shard's snapshot":                        {"shard-vol-1-0-snap-x", true, nil},
		"a replica of a volume called shard-vol":    {"shard-vol-r-12345678", false, []reading{head("shard-vol-r-12345678")}},
		"its snapshot that ends in a number":        {"shard-vol-r-12345678-snap-7", true, []reading{snapshot("shard-vol-r-12345678", "7")}},
		"a shard without a number":                  {"shard-vol", false, []reading{head("shard-vol")}},
		"a replica that has expired":                {"vol-1-r-4e5f6a7b-expired-17", false, nil},
		"its snapshot":                              {"vol-1-r-4e5f6a7b-expired-17-snap-x", true, nil},
		"a volume that says -expired-":              {"vol-expired-1-r-0a1b2c3d", false, []reading{head("vol-expired-1-r-0a1b2c3d")}},
		"a snapshot that says -expired-":            {"vol-1-r-4e5f6a7b-snap-x-expired-1", true, []reading{snapshot("vol-1-r-4e5f6a7b", "x-expired-1")}},
		"a snapshot that ends in a word of a clone": {"vol-1-snap-clone-ep-1", true, nil},
	} {
		t.Run(what, func(t *testing.T) {
			l := Lvol{Name: c.name, ReadOnly: c.readOnly}
			require.Equal(t, c.want, readings(l))
			for _, r := range c.want {
				got, ok := readingFor(l, r.replica)
				require.True(t, ok)
				require.Equal(t, r, got)
			}
			_, ok := readingFor(l, "vol")
			require.False(t, ok, "a prefix is not the replica")
			_, ok = readingFor(l, l.Name+"0")
			require.False(t, ok)
		})
	}
}

// taken are the names that a replica counts as its own.
func taken(t *testing.T, store Listing, replica string) []string {
	t.Helper()
	r, err := NewReplica(store, replica)
	require.NoError(t, err)
	names := []string{}
	for _, l := range store.Lvols {
		if r.owns(l.UUID) {
			names = append(names, l.Name)
		}
	}
	require.Equal(t, len(names) > 0, r.Exists())
	return names
}

func TestReplicaMembership(t *testing.T) {
	store := storeOf(t, `
  image:base
    snap:vol-1-snap-a
      lvol:vol-1
      snap:vol-1-snap-b
        lvol:vol-1-clone-ep-1
    snap:vol-10-snap-a
      lvol:vol-10
    snap:vol-1-snap-x-snap-a
      lvol:vol-1-snap-x
    lvol:vol-1-cloning
  lvol:vol-1-rebuilding
  lvol:vol-1-rebuilding-0badcafe
  snap:vol-1-rebuilding-00c0ffee
  lvol:vol-10-rebuilding-0badcafe
  lvol:vol-1-snap-x-rebuilding-0badcafe
  lvol:bi-rebuilding-0badcafe
  filling:base
`)
	for replica, want := range map[string][]string{
		"vol-1":            {"vol-1-snap-a", "vol-1", "vol-1-snap-b", "vol-1-rebuilding", "vol-1-rebuilding-0badcafe", "vol-1-rebuilding-00c0ffee"},
		"vol-10":           {"vol-10-snap-a", "vol-10", "vol-10-rebuilding-0badcafe"},
		"vol-1-snap-x":     {"vol-1-snap-x-snap-a", "vol-1-snap-x", "vol-1-snap-x-rebuilding-0badcafe"},
		"vol":              {},
		"vol-1-snap":       {},
		"vol-1-clone-ep-1": {},
		"vol-1-cloning":    {},
		"base":             {},
		"vol-2":            {},
	} {
		t.Run(replica, func(t *testing.T) {
			require.Equal(t, want, taken(t, store, replica))
		})
	}
}

func TestOtherReplicasHeadIsNoSnapshot(t *testing.T) {
	store := storeOf(t, "  lvol:vol-1-snap-x\n  lvol:vol-1\n")
	r, err := NewReplica(store, "vol-1")
	require.NoError(t, err)
	require.Empty(t, r.Snapshots)
	require.Equal(t, "vol-1", r.Head.Name)
}

func TestLineageDecidesOwnership(t *testing.T) {
	const name = "vol-1-snap-x-snap-y"
	for what, c := range map[string]struct {
		drawn  string
		owner  string   // "": refused for both
		others []string // who else may not have it
	}{
		"under the head of vol-1":          {"  snap:" + name + "\n    lvol:vol-1\n  lvol:vol-1-snap-x\n", "vol-1", []string{"vol-1-snap-x"}},
		"under the head of vol-1-snap-x":   {"  snap:" + name + "\n    lvol:vol-1-snap-x\n  lvol:vol-1\n", "vol-1-snap-x", []string{"vol-1"}},
		"a branch beside the head's":       {"  snap:vol-1-snap-a\n    snap:" + name + "\n    lvol:vol-1\n  lvol:vol-1-snap-x\n", "vol-1", []string{"vol-1-snap-x"}},
		"both on one image, in two trees":  {"  image:base\n    snap:" + name + "\n      lvol:vol-1-snap-x\n    snap:vol-1-snap-a\n      lvol:vol-1\n", "vol-1-snap-x", []string{"vol-1"}},
		"loose, nobody else is there":      {"  snap:" + name + "\n", "vol-1", nil},
		"loose, with two on the store":     {"  snap:" + name + "\n  lvol:vol-1\n  lvol:vol-1-snap-x\n", "", nil},
		"in a tree with the heads of both": {"  snap:" + name + "\n    lvol:vol-1\n    lvol:vol-1-snap-x\n", "", nil},
		"on the image, with two there":     {"  image:base\n    snap:" + name + "\n  lvol:vol-1\n  lvol:vol-1-snap-x\n", "", nil},
	} {
		t.Run(what, func(t *testing.T) {
			store := storeOf(t, c.drawn)
			if c.owner == "" {
				for _, replica := range []string{"vol-1", "vol-1-snap-x"} {
					_, err := NewReplica(store, replica)
					requireRefusal(t, err, name, "replica vol-1", "replica vol-1-snap-x", "disk-b", "by hand")
				}
				return
			}
			require.Contains(t, taken(t, store, c.owner), name)
			for _, other := range c.others {
				require.NotContains(t, taken(t, store, other), name)
			}
		})
	}
}

// TestLooseSpacerBelongsToItsReplica: no new snapshot may have that name, and a replica
// with a head has no lvols without relatives. For the other replica it stays ambiguous.
func TestLooseSpacerBelongsToItsReplica(t *testing.T) {
	store := storeOf(t, "  snap:vol-1-snap-x-rebuilding-0badcafe\n  lvol:vol-1\n  lvol:vol-1-snap-x\n")
	require.Contains(t, taken(t, store, "vol-1-snap-x"), "vol-1-snap-x-rebuilding-0badcafe")
	_, err := NewReplica(store, "vol-1")
	requireRefusal(t, err, "vol-1-snap-x-rebuilding-0badcafe")
}

func TestForeignAmbiguousNameIgnored(t *testing.T) {
	store := storeOf(t, "  snap:vol-1-snap-x-snap-y\n  lvol:vol-1\n  lvol:vol-1-snap-x\n  lvol:vol-2\n")
	require.Equal(t, []string{"vol-2"}, taken(t, store, "vol-2"))
}

func TestImageNamesCarryStoreUUID(t *testing.T) {
	for what, c := range map[string]struct {
		name, image string
		ok          bool
	}{
		"an image of this store":       {"bi-base-disk-store-b", "base", true},
		"one with -disk- in its name":  {"bi-a-disk-x-disk-store-b", "a-disk-x", true},
		"one that begins like another": {"bi-bi-base-disk-store-b", "bi-base", true},
		"one of another store":         {"bi-base-disk-store-a", "", false},
		"one that Longhorn fills":      {"bi-base-disk-store-b-temp-head", "", false},
		"one that we fill":             {"bi-rebuilding-0badcafe", "", false},
		"one without a name":           {"bi--disk-store-b", "", false},
		"a replica":                    {"base-disk-store-b", "", false},
	} {
		t.Run(what, func(t *testing.T) {
			image, ok := ImageOfLvolName(c.name, "store-b")
			require.Equal(t, c.ok, ok)
			if ok {
				require.Equal(t, c.image, image)
			}
		})
	}
	require.True(t, IsImageInFlight("bi-rebuilding-0badcafe"))
	require.False(t, IsImageInFlight("bi-rebuilding-0badcaf"))
	require.False(t, IsImageInFlight("bi-rebuilding-base-disk-store-b"))
	require.False(t, IsImageInFlight("bi-base-disk-store-b"))
}

func TestImagesBelongToNoReplica(t *testing.T) {
	store := storeOf(t, "  image:x-snap-y\n  lvol:bi-rebuilding-0badcafe\n  snap:bi-rebuilding-00c0ffee\n")
	for _, replica := range []string{"bi", "bi-x"} {
		require.Empty(t, taken(t, store, replica))
	}
}

func TestNameChecks(t *testing.T) {
	check := map[string]func(string) error{"replica": CheckReplicaName, "snapshot": CheckSnapshotName, "image": CheckImageName}
	for name, refused := range map[string]string{
		"vol-1":                       "",
		"1":                           "",
		"A.b_c-d":                     "",
		"x-snap-y":                    "",
		"x-rebuilding-y":              "",
		"x-rebuilding-0badcaf":        "",
		"x-temp-heads":                "",
		"":                            "replica snapshot image",
		"-x":                          "replica snapshot image",
		".x":                          "replica snapshot image",
		"_x":                          "replica snapshot image",
		"x/y":                         "replica snapshot image",
		"x y":                         "replica snapshot image",
		"x\n":                         "replica snapshot image",
		"é":                           "replica snapshot image",
		"x\x00":                       "replica snapshot image",
		"x-rebuilding":                "replica snapshot",
		"x-rebuilding-0badcafe":       "replica snapshot",
		"x-temp-head":                 "replica snapshot",
		"none":                        "snapshot image",
		"none-at-all":                 "",
		"a@b":                         "replica snapshot image",
		"a{":                          "replica snapshot image",
		"x`":                          "replica snapshot image",
		"x[":                          "replica snapshot image",
		"x:":                          "replica snapshot image",
		"x-rebuilding-0badcafe-again": "",
		"x-clone-ep-y":                "replica snapshot",
		"x-cloning":                   "replica snapshot",
		"x-cloning-tmp":               "replica snapshot",
		"x-cloning-tmpx":              "",
		"x-tmp-head":                  "replica snapshot",
		"clone-ep-1":                  "snapshot", // follows "-snap-"
		"cloning":                     "snapshot",
		"tmp-head":                    "snapshot",
		"shard-vol-1-0":               "replica snapshot",
		"shard-0":                     "",
		"shard-vol":                   "",
		"shard-vol-r-12345678":        "snapshot", // a replica of shard-vol
		"vol-r-0a1b2c3d-expired-1":    "replica snapshot",
		"vol-1-r-4e5f6a7b-expired-1":  "replica snapshot",
		"x-expired-y":                 "snapshot", // of no replica
		"x-expired-y-r-0a1b2c3d":      "snapshot",
	} {
		for what, ok := range check {
			err := ok(name)
			if strings.Contains(refused, what) {
				require.Error(t, err, "%s %q", what, name)
				require.Contains(t, err.Error(), what)
			} else {
				require.NoError(t, err, "%s %q", what, name)
			}
		}
	}
}

func plainName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9._-]{0,12}`),
		rapid.StringMatching(`[a-z0-9](-snap-|-rebuilding|-disk-|bi-|-temp-head|[a-z0-9]){1,5}`),
	)
}

func hexID() *rapid.Generator[string] { return rapid.StringMatching(`[0-9a-f]{8}`) }

func TestNamesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replica := plainName().Filter(func(s string) bool { return CheckReplicaName(s) == nil }).Draw(t, "replica")
		snapshot := plainName().Filter(func(s string) bool { return CheckSnapshotName(s) == nil }).Draw(t, "snapshot")
		image := plainName().Filter(func(s string) bool { return CheckImageName(s) == nil }).Draw(t, "image")
		store := plainName().Draw(t, "store")
		id := hexID().Draw(t, "id")

		got, ok := readingFor(Lvol{Name: SnapshotLvolName(replica, snapshot), ReadOnly: true}, replica)
		require.True(t, ok)
		require.Equal(t, reading{replica: replica, role: roleSnapshot, snapshot: snapshot}, got)

		require.Equal(t, []reading{{replica: replica, role: roleHead}}, readings(Lvol{Name: replica}))

		for _, name := range []string{InFlightLvolName(replica, id), replica + inFlightSuffix} {
			of, ok := ReplicaInFlight(name)
			require.True(t, ok)
			require.Equal(t, replica, of)
			require.Equal(t, []reading{{replica: replica, role: roleInFlight}}, readings(Lvol{Name: name}))
		}

		of, ok := ImageOfLvolName(ImageLvolName(image, store), store)
		require.True(t, ok)
		require.Equal(t, image, of)
		require.True(t, IsImageInFlight(ImageInFlightLvolName(id)))
		require.False(t, IsImageInFlight(ImageLvolName(image, store)))
	})
}
