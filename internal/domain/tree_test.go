package domain

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func treeOf(t rapid.TB, drawn string) (SnapshotTree, error) {
	t.Helper()
	r, err := NewReplica(storeOf(t, drawn), destinationReplica)
	if err != nil {
		return SnapshotTree{}, err
	}
	return NewSnapshotTree(r)
}

// String draws the tree, one line per snapshot.
func (t SnapshotTree) String() string {
	text := ""
	for i := range t.order {
		parent := "-"
		if t.parents[i] >= 0 {
			parent = t.names[t.parents[i]]
		}
		text += fmt.Sprintf("%s <- %s\n", parent, t.names[i])
	}
	return text
}

func TestTreeOrder(t *testing.T) {
	tree, err := treeOf(t, `
  image:base
    s1 at=5
      z at=1
        deep at=9
      b at=2
        head
      a at=2
`)
	require.NoError(t, err)
	require.Equal(t, "- <- s1\ns1 <- z\nz <- deep\ns1 <- a\ns1 <- b\n", tree.String(), "siblings by creation, then by name")
	ancestor, ok := tree.Ancestor()
	require.True(t, ok)
	require.Equal(t, "s1", ancestor.Name)
	head, ok := tree.HeadParent()
	require.True(t, ok)
	require.Equal(t, "b", head.Name)
	for _, s := range tree.Snapshots() {
		parent, isAncestor := tree.ParentOf(s)
		require.Equal(t, s.Name == "s1", isAncestor)
		if !isAncestor {
			require.Equal(t, s.Lvol.Parent, parent.Lvol.UUID)
		}
	}
	require.True(t, tree.Has("deep"))
	require.False(t, tree.Has("base"))
	require.False(t, tree.Has(""))
}

func TestEmptyTree(t *testing.T) {
	for _, drawn := range []string{"  head\n", "  image:base\n    head\n"} {
		tree, err := treeOf(t, drawn)
		require.NoError(t, err)
		require.Empty(t, tree.Snapshots())
		_, ok := tree.Ancestor()
		require.False(t, ok)
		_, ok = tree.HeadParent()
		require.False(t, ok)
	}
}

func TestUnhealthyTreesRefused(t *testing.T) {
	for what, c := range map[string]struct {
		drawn string
		says  []string
	}{
		"no head":                          {"  s1\n", []string{destinationReplica, "disk-b", "no head"}},
		"nothing at all":                   {"", []string{"no head"}},
		"two loose roots":                  {"  s1\n    head\n  s2\n", []string{"two ancestors", "s1", "s2"}},
		"two roots, one on the image":      {"  image:base\n    s1\n      head\n  s2\n", []string{"two ancestors", "s1", "s2"}},
		"two roots on one image":           {"  image:base\n    s1\n      head\n    s2\n", []string{"two ancestors", "s1", "s2"}},
		"the head hangs loose":             {"  image:base\n    s1\n  head\n", []string{"two ancestors", "the head", "s1"}},
		"the head hangs on the image":      {"  image:base\n    s1\n    head\n", []string{"two ancestors", "the head", "s1"}},
		"a snapshot larger than its child": {"  s1 size=9\n    s2 size=8\n      head size=9\n", []string{"s2", "8388608", "s1", "9437184"}},
		"a snapshot larger than the head":  {"  s1 size=9\n    head size=8\n", []string{"8388608", "s1", "9437184"}},
		"under another replica's snapshot": {"  snap:vol-10-r-4e5f6a7b-snap-a\n    s1\n      head\n", []string{"snap-s1", "vol-10-r-4e5f6a7b-snap-a", "no snapshot of replica", "linked clone of snapshot a of volume vol-10, repair the replica first"}},
		"under a spacer of its own":        {"  spacer:0badcafe\n    s1\n      head\n", []string{"snap-s1", "rebuilding-0badcafe"}},
		"under an lvol that is no one's":   {"  lvol:else\n    s1\n      head\n", []string{"snap-s1", "else"}},
		"under an image that is filled":    {"  filling:base\n    s1\n      head\n", []string{"snap-s1", "temp-head"}},
		"its head under another's":         {"  snap:vol-10-r-4e5f6a7b-snap-a\n    head\n", []string{"vol-10-r-4e5f6a7b-snap-a"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := treeOf(t, c.drawn)
			requireRefusal(t, err, c.says...)
		})
	}
}

func TestChildMayBeLarger(t *testing.T) {
	_, err := treeOf(t, "  s1 size=7\n    s2 size=7\n      s3 size=8\n        head size=8\n")
	require.NoError(t, err)
}

func TestContradictoryListingsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		lvols []Lvol
		says  []string
	}{
		"a cycle of one":            {[]Lvol{{UUID: "1", Name: "a", Parent: "1"}}, []string{"cycle", "a", "disk-b"}},
		"a cycle of two":            {[]Lvol{{UUID: "1", Name: "a", Parent: "2"}, {UUID: "2", Name: "b", Parent: "1"}}, []string{"cycle"}},
		"a cycle of three":          {[]Lvol{{UUID: "1", Parent: "2"}, {UUID: "2", Parent: "3"}, {UUID: "3", Parent: "1"}}, []string{"cycle"}},
		"a way that leads into one": {[]Lvol{{UUID: "0", Parent: "1"}, {UUID: "1", Parent: "2"}, {UUID: "2", Parent: "1"}}, []string{"cycle"}},
		"one that is met late":      {[]Lvol{{UUID: "9"}, {UUID: "8", Parent: "9"}, {UUID: "1", Parent: "2"}, {UUID: "2", Parent: "1"}}, []string{"cycle"}},
		"a parent that is unknown":  {[]Lvol{{UUID: "1", Name: "a", Parent: "gone"}}, []string{"gone", "a", "not listed"}},
		"a UUID twice":              {[]Lvol{{UUID: "1", Name: "a"}, {UUID: "1", Name: "b"}}, []string{"UUID 1 twice"}},
		"no UUID":                   {[]Lvol{{Name: "a"}}, []string{"a without a UUID"}},
	} {
		t.Run(what, func(t *testing.T) {
			store := fixtureStore("b")
			store.Lvols = c.lvols
			_, err := newIndex(store)
			require.Error(t, err)
			_, err = NewReplica(store, "vol-1")
			requireRefusal(t, err, c.says...)
		})
	}
}

func TestBranchesAreNoCycle(t *testing.T) {
	store := fixtureStore("b")
	store.Lvols = []Lvol{{UUID: "4", Parent: "2"}, {UUID: "3", Parent: "2"}, {UUID: "2", Parent: "1"}, {UUID: "1"}, {UUID: "5", Parent: "1"}}
	_, err := newIndex(store)
	require.NoError(t, err)
}

// longChain is a replica with one chain of snapshots.
func longChain(store Listing, replica string, n int) Listing {
	parent := ""
	for i := range n {
		l := Lvol{
			UUID: fmt.Sprintf("%s-%d", store.UUID, i), Name: SnapshotLvolName(replica, fmt.Sprintf("s%06d", i)), Parent: parent,
			Size: proofCluster, ReadOnly: true, Own: ownClusters("x", 1), Attributes: createdAt(i),
		}
		store.Lvols = append(store.Lvols, l)
		parent = l.UUID
	}
	store.Lvols = append(store.Lvols, Lvol{UUID: store.UUID + "-head", Name: replica, Parent: parent, Size: proofCluster})
	return store
}

// Quadratic or recursive code would not finish.
func TestDeepChain(t *testing.T) {
	const n = 100_000
	s := fixture{requested: NoBase(), source: longChain(fixtureStore("a"), sourceReplica, n), destination: longChain(fixtureStore("b"), destinationReplica, n/2)}
	source, destination := s.replicas(t)
	tree, err := NewSnapshotTree(source)
	require.NoError(t, err)
	require.Len(t, tree.Snapshots(), n)
	parent, _ := tree.HeadParent()
	require.Equal(t, "s099999", parent.Name)
	s.source.FreeClusters, s.destination.FreeClusters = n, n
	destination.Store.FreeClusters = n
	plan, err := PlanRebuild(source, destination, NoBase(), Options{})
	require.NoError(t, err)
	require.Len(t, plan.Steps, n+1)
	after := s.play(t, plan)
	require.Empty(t, after.violations(t, NoBase()))
}

func TestDeepChainListedLeafFirst(t *testing.T) {
	store := longChain(fixtureStore("b"), destinationReplica, 100_000)
	for i, j := 0, len(store.Lvols)-1; i < j; i, j = i+1, j-1 {
		store.Lvols[i], store.Lvols[j] = store.Lvols[j], store.Lvols[i]
	}
	r, err := NewReplica(store, destinationReplica)
	require.NoError(t, err)
	_, err = NewSnapshotTree(r)
	require.NoError(t, err)
}

func TestSnapshotByName(t *testing.T) {
	r, err := NewReplica(storeOf(t, "  s2\n  s1\n    s3\n"), destinationReplica)
	require.NoError(t, err)
	for _, name := range []string{"s1", "s2", "s3"} {
		s, ok := r.Snapshot(name)
		require.True(t, ok)
		require.Equal(t, name, s.Name)
	}
	for _, name := range []string{"", "s", "s0", "s10", "s4"} {
		_, ok := r.Snapshot(name)
		require.False(t, ok)
	}
}

func TestParentOf(t *testing.T) {
	store := storeOf(t, `
  image:base
    s1
      s2
  snap:vol-10-r-4e5f6a7b-snap-a
    s3
  spacer:0badcafe
    s4
  s5
`)
	r, err := NewReplica(store, destinationReplica)
	require.NoError(t, err)
	for snapshot, want := range map[string]string{
		"s1": "backing-image:base", "s2": "s1", "s3": "lvol:vol-10-r-4e5f6a7b-snap-a", "s4": "lvol:" + destinationReplica + "-rebuilding-0badcafe", "s5": "",
	} {
		s, _ := r.Snapshot(snapshot)
		parent := r.ParentOf(s.Lvol)
		require.Equal(t, want, parent.String())
		require.Equal(t, want == "", parent.IsNone())
		_, isSnapshot := parent.Snapshot()
		require.Equal(t, snapshot == "s2", isSnapshot)
		_, isImage := parent.Image()
		require.Equal(t, snapshot == "s1", isImage)
	}
	require.NotEqual(t, ImageBase("s1").Parent(), Snapshot{Name: "s1"}.AsParent(), "an image is no snapshot of that name")
	require.NotEqual(t, Lvol{Name: "s1"}.AsForeignParent(), Snapshot{Name: "s1"}.AsParent())
}
