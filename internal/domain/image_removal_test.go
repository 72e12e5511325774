package domain

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRemovalOfNeededImageRefused(t *testing.T) {
	const uuid = "store-uuid"
	image := Lvol{UUID: "i", Name: ImageLvolName("base", uuid), ReadOnly: true}
	store := func(more ...Lvol) Listing {
		return Listing{Name: "disk-1", UUID: uuid, Lvols: append([]Lvol{image, {UUID: "o", Name: ImageLvolName("other", uuid), ReadOnly: true}}, more...)}
	}
	on := func(names ...string) (lvols []Lvol) {
		for i, name := range names {
			lvols = append(lvols, Lvol{UUID: fmt.Sprint("c", i), Name: name, Parent: "i", Record: "base"})
		}
		return lvols
	}
	for name, c := range map[string]struct {
		store Listing
		says  string
	}{
		"nothing needs it":      {store(Lvol{UUID: "h", Name: "vol-1-r-0a1b2c3d", Parent: "o", Record: "other"}), ""},
		"writable":              {Listing{Name: "disk-1", UUID: uuid, Lvols: []Lvol{{UUID: "i", Name: image.Name}}}, ""},
		"one clone":             {store(on("a")...), "backing image base on lvstore disk-1 is needed: lvol a is its clone; delete the replicas first"},
		"two clones":            {store(on("a", "b")...), "lvols a and b are its clones"},
		"many clones":           {store(on("a", "b", "c", "d", "e")...), "lvols a, b, c and 2 more are its clones"},
		"a replica has lost it": {store(Lvol{UUID: "h", Name: "vol-1-r-0a1b2c3d", Record: "base"}), "lvol vol-1-r-0a1b2c3d records it and lost it"},
		"it is exported":        {Listing{Name: "disk-1", UUID: uuid, Lvols: []Lvol{{UUID: "i", Name: image.Name, UsedBy: User{Kind: UserExport, Name: "nqn.x"}}}}, "backing image base on lvstore disk-1 is in use (it is exported as nqn.x): end that use first"},
		"it is downloaded":      {store(Lvol{UUID: "d", Name: image.Name + "-temp-head"}), "a download of image base is in progress"},
		"it is missing":         {Listing{Name: "disk-1", UUID: uuid, Lvols: []Lvol{{UUID: "r", Name: "bi-rebuilding-0badcafe"}}}, "backing image base not found on lvstore disk-1; available: none"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := CheckImageRemoval(c.store, "base")
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, "i", found.Lvol.UUID)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}
