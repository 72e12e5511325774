package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplicaOfLvolName(t *testing.T) {
	for name, c := range map[string]struct {
		lvol    string
		kin     []string
		replica string
	}{
		"a head":                              {"vol-1-r-4e5f6a7b", nil, "vol-1-r-4e5f6a7b"},
		"a snapshot":                          {"vol-1-r-4e5f6a7b-snap-a", nil, "vol-1-r-4e5f6a7b"},
		"what is in flight":                   {"vol-1-r-4e5f6a7b-rebuilding-0badcafe", nil, "vol-1-r-4e5f6a7b"},
		"what Longhorn has in flight":         {"vol-1-r-4e5f6a7b-rebuilding", nil, "vol-1-r-4e5f6a7b"},
		"in flight of an odd replica":         {"vol-1-snap-x-rebuilding-0badcafe", nil, "vol-1-snap-x"},
		"two readings: the shortest":          {"vol-1-snap-x-snap-y", nil, "vol-1"},
		"two readings, and a parent for each": {"vol-1-snap-x-snap-y", []string{"vol-1-snap-a"}, "vol-1"},
		"kin that may be either's":            {"vol-1-snap-x-snap-y", []string{"bi-base-disk-1", "vol-1-snap-x"}, "vol-1"},
		"so does a sibling in flight":         {"vol-1-snap-x-snap-y", []string{"vol-1-snap-x-rebuilding-0badcafe"}, "vol-1-snap-x"},
		"an entry point":                      {"vol-9-r-4e5f6a7b-clone-ep-a-snap-b", nil, "vol-9-r-4e5f6a7b"},
		"overlapping infixes":                 {"v-snap-snap-x", nil, "v"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.replica, ReplicaOfLvolName(c.lvol, c.kin...)) })
	}
}
