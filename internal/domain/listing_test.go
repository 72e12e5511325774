package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 10. A listing with a duplicate name was accepted: the second of two heads won,
// the second of two snapshots was deleted.
func TestBug10_DuplicateNameRefused(t *testing.T) {
	store := fixtureStore("b")
	store.Lvols = []Lvol{{UUID: "1", Name: "vol-1"}, {UUID: "2", Name: "vol-1"}}
	_, err := NewReplica(store, "vol-1")
	requireRefusal(t, err, "vol-1", "twice")
}

// BUG 12. The model remembered positions in the first source that it was given, and
// used them for later ones.
func TestBug12_ModelCopiesFromGivenSource(t *testing.T) {
	s := parseFixture(t, applied)
	model := NewStoreModel(s.destination, destinationReplica)
	made := []Ref{{refSnapshot, "x"}, {refSnapshot, "y"}}
	for _, r := range made {
		require.NoError(t, model.Apply(s.source, Operation{Verb: VerbCreate, Target: r}))
	}
	all := byUUID(s.source)
	require.NoError(t, model.Apply(s.source, Operation{Verb: VerbCopy, Target: made[0], Source: originOf(all["a-s1"])}))
	later := s.source
	later.Lvols = append([]Lvol{{UUID: "new", Name: "new", ReadOnly: true}}, s.source.Lvols...)
	require.NoError(t, model.Apply(later, Operation{Verb: VerbCopy, Target: made[1], Source: originOf(all["a-s2"])}))
	require.Equal(t, all["a-s2"].Own, byUUID(model.Listing())[uuidOf(made[1])].Own)
}
