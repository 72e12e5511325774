package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
)

func TestWhatOthersTakeOfAStore(t *testing.T) {
	const store, image = "store", "bi-base-disk-store"
	listed := func(lvols ...domain.Lvol) domain.Listing { return domain.Listing{UUID: store, Lvols: lvols} }
	lvol := func(uuid string, own uint64) domain.Lvol {
		return domain.Lvol{UUID: uuid, Name: "name of " + uuid, Own: domain.Clusters{Count: own}}
	}
	for what, c := range map[string]struct {
		needs        []*reservation
		listed       domain.Listing
		fetches      string
		taken, given uint64
	}{
		"nothing":                                    {},
		"what is not there yet":                      {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5}, {clusters: 3, uuids: []string{"a"}}}}}, taken: 8},
		"on another store":                           {needs: []*reservation{{store: "other", lvols: []*reservedLvol{{clusters: 5}}}}},
		"what is filled in part":                     {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, uuids: []string{"a"}}}}}, listed: listed(lvol("a", 2)), taken: 3},
		"what was filled before":                     {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, uuids: []string{"a"}, filled: 5}}}}},
		"what it will free":                          {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5}}, deletes: []string{"a"}}}, listed: listed(lvol("a", 3)), taken: 2},
		"what it has freed":                          {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5}}, deletes: []string{"a"}}}, taken: 5},
		"nobody gives what is freed":                 {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5}}, deletes: []string{"a"}}, {store: store, lvols: []*reservedLvol{{clusters: 4}}}}, listed: listed(lvol("a", 9)), taken: 4},
		"an image for two":                           {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, image: image, uuids: []string{"a"}}}}, {store: store, lvols: []*reservedLvol{{clusters: 5, image: image}, {clusters: 1}}}}, listed: listed(lvol("a", 2)), taken: 4},
		"an image that was sealed after the listing": {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, image: image, uuids: []string{"a", "b"}}}}}, listed: listed(lvol("a", 5)), fetches: image, given: 5},
		"an image that has come":                     {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, image: image}, {clusters: 1}}}}, listed: listed(domain.Lvol{UUID: "i", Name: image}), taken: 1},
		"an image that is shared":                    {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, image: image, uuids: []string{"a"}}, {clusters: 9}}}}, listed: listed(lvol("a", 2)), fetches: image, taken: 7},
		"an image that is given":                     {needs: []*reservation{{store: store, lvols: []*reservedLvol{{clusters: 5, image: image, uuids: []string{"a"}}, {clusters: 1}}}}, listed: listed(lvol("a", 4)), fetches: image, given: 3},
	} {
		t.Run(what, func(t *testing.T) {
			var r spaceLedger
			for _, n := range c.needs {
				require.True(t, r.reserve(n, nil, r.version))
			}
			before := r.filled()
			if c.listed.UUID == "" {
				c.listed = listed()
			}
			taken, given, _ := r.demand(c.listed, before, nil, c.fetches)
			require.Equal(t, []uint64{c.taken, c.given}, []uint64{taken, given})
			for _, n := range c.needs {
				r.release(n)
			}
			taken, _, _ = r.demand(c.listed, before, nil, c.fetches)
			require.Equal(t, c.taken, taken, "what has ended since the store was listed has taken it")
			taken, _, _ = r.demand(c.listed, nil, nil, c.fetches)
			require.Zero(t, taken)
		})
	}
}

// Two runs that plan at the same moment cannot both take the same.
func TestUnseenRunMakesAnotherPlanAgain(t *testing.T) {
	var r spaceLedger
	store := domain.Listing{UUID: "store"}
	_, _, entered := r.demand(store, nil, nil, "")
	first, second := &reservation{store: "store", lvols: []*reservedLvol{{clusters: 5}}}, &reservation{store: "store", lvols: []*reservedLvol{{clusters: 5}}}
	require.True(t, r.reserve(first, nil, entered))
	require.False(t, r.reserve(second, nil, entered))
	taken, _, entered := r.demand(store, nil, nil, "")
	require.EqualValues(t, 5, taken)
	require.True(t, r.reserve(second, nil, entered))

	// A run counts once, whichever of its plans are known.
	before := r.filled()
	again := &reservation{store: "store", lvols: []*reservedLvol{{clusters: 4}}}
	require.True(t, r.reserve(again, first, r.version))
	taken, _, _ = r.demand(store, before, second, "")
	require.EqualValues(t, 5, taken)
	taken, _, _ = r.demand(store, before, again, "")
	require.EqualValues(t, 5, taken, "its own is not others'")
}
