package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinkedClonesOfAllEntryPoints(t *testing.T) {
	store := storeOf(t, dailyTree+entryAt+onEntry+
		"        s3\n"+ // of the same replica
		"        flight:0a1b2c3d\n"+
		"        lvol:vol-2-r-0000000b\n"+
		"      snap:vol-9-r-0000000b-clone-ep-unused\n"+
		"  snap:vol-8-r-0000000b-clone-ep-x\n    lvol:shard-vol-1-0\n")
	x, err := newIndex(store)
	require.NoError(t, err)
	all := x.allLinkedClones()
	at := func(name string) int { at, ok := x.named(name); require.True(t, ok, name); return at }
	require.Equal(t, map[int][]string{
		at(entryName): {destinationReplica, "vol-2-r-0000000b"}, at("vol-8-r-0000000b-clone-ep-x"): {"shard-vol-1-0"},
	}, all)
	for entryPoint := range store.Lvols {
		if _, _, ok := entryPointOf(store.Lvols[entryPoint].Name); ok {
			require.Equal(t, x.linkedClones(entryPoint), all[entryPoint])
		}
	}
}
