package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const replacedSource = `requested none
source
  s1 own=a/2
    s2 own=b/1
      head
`

// What linked clones read through is replaced only if they can be given a proven copy of it.
func TestUnmovableLinkedClonesRefused(t *testing.T) {
	const ofS1 = "snap:vol-1-r-4e5f6a7b-clone-ep-s1"
	for name, c := range map[string]struct{ store, snapshot, entryPoint, why string }{
		"the store does not rename snapshots": {"renames-no-snapshots", "s1 own=x/2", ofS1, "lvstore disk-b does not rename snapshots"},
		"a store without proofs":              {"upstream", "s1 own=x/2", ofS1, "lvstore disk-b does not rename snapshots"},
		"the source has no such snapshot":     {"", "extra own=x/2", "snap:vol-1-r-4e5f6a7b-clone-ep-extra", "the source has no such snapshot"},
		"it has another size":                 {"", "s1 own=x/2 size=7", ofS1 + " size=7", "it has 7340032 bytes instead of the source's 8388608"},
		"it has content":                      {"", "s1 own=x/2", ofS1 + " own=m/1", "it is not an empty snapshot"},
		"it is writable":                      {"", "s1 own=x/2", ofS1 + " writable", "it is not an empty snapshot"},
		"it is named after another snapshot":  {"", "s1 own=x/2", "snap:vol-1-r-4e5f6a7b-clone-ep-s2", "it is named after another snapshot"},
		"it is named after another replica":   {"", "s1 own=x/2", "snap:vol-3-r-4e5f6a7b-clone-ep-s1", "it is no entry point of replica vol-1-r-4e5f6a7b"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "destination " + c.store + "\n  " + c.snapshot + "\n    " + c.entryPoint + "\n      lvol:vol-7-r-0000000b own=g/1\n"
			_, err := parseFixture(t, replacedSource+text).plan()
			requireRefusal(t, err, c.why, "replicas are linked clones of it: vol-7-r-0000000b; delete them first")
		})
	}
	t.Run("no checksum is computed", func(t *testing.T) {
		s := parseFixture(t, replacedSource+"destination\n  s1 own=x/2\n    "+ofS1+"\n      lvol:vol-7-r-0000000b own=g/1\n")
		s.options.NoChecksums = true
		_, err := s.plan()
		requireRefusal(t, err, "the hosts do not prove the copy")
	})
}

// Other clones of a snapshot that is replaced under an entry point are refused as ever.
func TestForeignCloneBesideEntryPointRefused(t *testing.T) {
	s := parseFixture(t, replacedSource+`destination
  s1 own=x/2
    snap:vol-1-r-4e5f6a7b-clone-ep-s1
      lvol:vol-7-r-0000000b own=g/1
    lvol:vol-8-r-0000000b own=h/1
`)
	_, err := s.plan()
	requireRefusal(t, err, "vol-8-r-0000000b", "is a foreign clone of vol-1-r-4e5f6a7b-snap-s1, which would be deleted")
}

// The old snapshots are there until the copies are verified, so their space is not free.
func TestSpaceOfSnapshotsSetAsideIsNotFree(t *testing.T) {
	const drawn = `
  s1 own=x/2
    snap:vol-1-r-4e5f6a7b-clone-ep-s1
      lvol:vol-7-r-0000000b own=g/1
`
	s := parseFixture(t, replacedSource+"destination free=3"+drawn)
	require.True(t, s.mustPlan(t).Replaces())
	_, err := parseFixture(t, replacedSource+"destination free=2"+drawn).plan()
	requireRefusal(t, err, "the rebuild needs 3 clusters and 0 stay in reserve, but 2 are free and it frees 0")
}

// An entry point in use would get another parent while it is read.
func TestEntryPointInUseRefused(t *testing.T) {
	s := parseFixture(t, replacedSource+`destination
  s1 own=x/2
    snap:vol-1-r-4e5f6a7b-clone-ep-s1 export=nqn.x
      lvol:vol-7-r-0000000b own=g/1 export=nqn.y
`)
	_, err := s.plan()
	requireRefusal(t, err, "vol-1-r-4e5f6a7b-clone-ep-s1", "would get another parent while it is read")
}

// Linked clones may be in use: they read the old bytes or the right ones.
func TestLinkedClonesInUseAreNoObstacle(t *testing.T) {
	s := parseFixture(t, replacedSource+`destination
  s1 own=x/2
    snap:vol-1-r-4e5f6a7b-clone-ep-s1
      lvol:vol-7-r-0000000b own=g/1 raid=vol-7
`)
	require.True(t, s.mustPlan(t).Replaces())
}

// A linked clone whose entry point waits for a copy is told to wait for the rebuild of its
// source volume. No repair moves the entry point: nothing has proven the copy.
func TestLinkedCloneOfSnapshotSetAside(t *testing.T) {
	const waits = "a rebuild of replica vol-9-r-0000000b has set it aside"
	for what, copied := range map[string]string{"the copy is missing": "", "the copy is there": "    snap:vol-9-r-0000000b-snap-daily own=d/2\n"} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, sourceClone+`destination
  image:os
    snap:vol-9-r-0000000b-rebuilding-0badcafe own=x/2
      snap:vol-9-r-0000000b-clone-ep-daily
        s1 own=a/2
          s2 own=b/1
            head record=clone:vol-9@daily
`+copied)
			_, err := s.plan()
			requireRefusal(t, err, waits, "wait for it, or rebuild that replica first")
			_, r := s.replicas(t)
			audit := Audit(r, Base{})
			require.Len(t, audit.Violations, 1)
			require.Contains(t, audit.Violations[0].Detail, waits)
			require.False(t, audit.Violations[0].Repairable)
			_, err = PlanRepair(r, Base{})
			requireRefusal(t, err, waits)
		})
	}
}

// Garbage collection keeps a snapshot that is set aside, and all below it, while an entry
// point reads through it.
func TestSnapshotsSetAsideAreNoGarbage(t *testing.T) {
	leftovers, err := Garbage(storeOf(t, `
  spacer:0badcafe own=x/2
    spacer:0badbabe own=y/2
      snap:vol-1-r-4e5f6a7b-clone-ep-s1
        lvol:vol-7-r-0000000b own=g/1
    spacer:0000beef own=z/1
`))
	require.NoError(t, err)
	stays := make(map[string]bool)
	for _, l := range leftovers {
		stays[l.Lvol.Name] = l.Stays != ""
	}
	require.Equal(t, map[string]bool{
		"vol-1-r-4e5f6a7b-rebuilding-0badcafe": true,
		"vol-1-r-4e5f6a7b-rebuilding-0badbabe": true,
		"vol-1-r-4e5f6a7b-rebuilding-0000beef": false,
	}, stays)
}
