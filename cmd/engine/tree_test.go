package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
)

const storeUUID = "d15c0002-5ce0-4a1d-8000-000000000002"

// drawn draws the replica "r" of a store with these lvols. Names serve as UUIDs.
func drawn(t *testing.T, lvols ...rebuild.Lvol) string {
	t.Helper()
	for i := range lvols {
		lvols[i].UUID = lvols[i].Name
		if lvols[i].Size == 0 {
			lvols[i].Size = 16 << 20
		}
	}
	r, err := rebuild.NewReplica(rebuild.Listing{UUID: storeUUID, Name: "disk", ClusterSize: 1 << 20, Lvols: lvols}, "r")
	require.NoError(t, err)
	return "\n" + drawTree(r)
}

func snapshot(name, parent string, clusters uint64) rebuild.Lvol {
	if parent != "" && !strings.Contains(parent, "-") {
		parent = rebuild.SnapshotLvolName("r", parent)
	}
	return rebuild.Lvol{Name: rebuild.SnapshotLvolName("r", name), Parent: parent, ReadOnly: true, Own: rebuild.Clusters{Count: clusters}}
}

func TestTreeShowsExternalParents(t *testing.T) {
	require.Equal(t, `
(no parent)
└── s3  1 cluster
(parent unknown)
├── s2  degraded
└── (head)  degraded
external:nvme0n1
└── s1  2 clusters
    └── s4  1 cluster
`, drawn(t,
		rebuild.Lvol{Name: rebuild.SnapshotLvolName("r", "s1"), External: "nvme0n1", ReadOnly: true, Own: rebuild.Clusters{Count: 2}},
		snapshot("s4", "s1", 1),
		rebuild.Lvol{Name: rebuild.SnapshotLvolName("r", "s2"), Degraded: true},
		snapshot("s3", "", 1),
		rebuild.Lvol{Name: "r", Degraded: true},
	))
}

func theImage() rebuild.Lvol {
	return rebuild.Lvol{Name: rebuild.ImageLvolName("base", storeUUID), ReadOnly: true}
}

func TestDrawBranchingTree(t *testing.T) {
	root := snapshot("a", theImage().Name, 1)
	root.Attributes.CreatedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	small := snapshot("b", "a", 2)
	small.Size = 8 << 20
	require.Equal(t, `
backing-image:base
└── a  1 cluster  2026-01-02T03:04:05Z
    ├── b  2 clusters of 8 MiB
    │   └── d  0 clusters
    └── c  3 clusters
        └── (head)  4 clusters  records image base
`, drawn(t, theImage(), root, small, snapshot("c", "a", 3), snapshot("d", "b", 0),
		rebuild.Lvol{Name: "r", Parent: "r-snap-c", Own: rebuild.Clusters{Count: 4}, Record: "base"}))
}

func TestDrawHeadAfterSiblings(t *testing.T) {
	late := snapshot("late", "a", 0)
	late.Attributes.CreatedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, `
(no parent)
└── a  0 clusters
    ├── late  0 clusters  2026-01-01T00:00:00Z
    └── (head)  0 clusters
`, drawn(t, rebuild.Lvol{Name: "r", Parent: "r-snap-a"}, late, snapshot("a", "", 0)))
}

func TestDrawBrokenReplicaAsForest(t *testing.T) {
	require.Equal(t, `
(no parent)
├── r-rebuilding-0badcafe  2 clusters
└── loose  1 cluster
backing-image:base
└── a  1 cluster
    └── r-rebuilding-5bace000  0 clusters
        └── b  1 cluster
lvol:q-snap-x
└── lost  1 cluster
`, drawn(t, theImage(), snapshot("a", theImage().Name, 1), snapshot("b", "r-rebuilding-5bace000", 1), snapshot("loose", "", 1),
		rebuild.Lvol{Name: "q-snap-x", ReadOnly: true}, snapshot("lost", "q-snap-x", 1),
		rebuild.Lvol{Name: "r-rebuilding-0badcafe", Own: rebuild.Clusters{Count: 2}},
		rebuild.Lvol{Name: "r-rebuilding-5bace000", Parent: "r-snap-a", ReadOnly: true}))
}

func TestDrawEmptyReplica(t *testing.T) {
	require.Equal(t, "\n(nothing)\n", drawn(t, theImage()))
}

func TestLongChainFitsScreen(t *testing.T) {
	const length = 1000
	lvols := []rebuild.Lvol{snapshot("s000", "", 1)}
	for i := 1; i < length; i++ {
		lvols = append(lvols, snapshot(fmt.Sprintf("s%03d", i), fmt.Sprintf("s%03d", i-1), 1))
	}
	text := drawn(t, append(lvols, rebuild.Lvol{Name: "r", Parent: "r-snap-s999"})...)
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	require.Len(t, lines, 1+length+1)
	for i, line := range lines[1:] {
		require.LessOrEqual(t, len([]rune(line)), 80)
		if i > maxIndent && i < length {
			require.Contains(t, line, fmt.Sprintf("s%03d  1 cluster  on s%03d", i, i-1), "what is not moved to the right says where it hangs")
		}
	}
	require.Contains(t, lines[length+1], "(head)  0 clusters  on s999")
}
