package domain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// two builds the replicas of a fixture: the primary is its source, the other one its
// destination.
func two(t *testing.T, text string) (primary, other Replica, s fixture) {
	t.Helper()
	s = parseFixture(t, text)
	primary, err := NewReplica(s.source, sourceReplica)
	require.NoError(t, err)
	other, err = NewReplica(s.destination, destinationReplica)
	require.NoError(t, err)
	return primary, other, s
}

func allUUIDs(r Replica) (uuids []string) {
	for _, s := range r.Snapshots {
		uuids = append(uuids, s.Lvol.UUID)
	}
	return uuids
}

func TestSecondarySourceCandidates(t *testing.T) {
	for what, c := range map[string]struct {
		primary, other string // what follows "s2", which hangs on s1
		lent           bool
		unlike         string
	}{
		"all is equal":                   {"own=a/2 at=3", "own=a/2 at=3", true, ""},
		"both are empty":                 {"", "", true, ""},
		"another size":                   {"own=a/2 size=8", "own=a/2 size=9", false, "snapshot s2 has 9437184 bytes instead of 8388608"},
		"merged: more clusters":          {"own=a/2", "own=b/3", false, "snapshot s2 has 3 clusters of its own instead of 2"},
		"merged: as many clusters":       {"own=a/2", "own=b/2", false, "snapshot s2 has other data"},
		"the same checksum elsewhere":    {"own=here,a/2", "own=there,a/2", false, "snapshot s2 has other data"},
		"the same map, another checksum": {"own=here,a/2", "own=here,b/2", false, "snapshot s2 has other data"},
		"the primary is not proven":      {"own=?/2", "own=a/2", false, "snapshot s2 could not be proven"},
		"the other is not proven":        {"own=a/2", "own=?/2", false, "snapshot s2 could not be proven"},
		"neither is proven":              {"own=?/2", "own=?/2", false, "snapshot s2 could not be proven"},
		"maps alone":                     {"own=a,/2", "own=a,/2", false, "snapshot s2 could not be proven"},
		"checksums alone":                {"own=,a/2", "own=,a/2", false, "snapshot s2 could not be proven"},
		"another time of creation":       {"own=a/2 at=3", "own=a/2 at=4", false, "snapshot s2 records another time of creation"},
		"another creator":                {"own=a/2", "own=a/2 system", false, "or another creator"},
	} {
		t.Run(what, func(t *testing.T) {
			primary, other, _ := two(t, fmt.Sprintf(
				"source\n  image:base\n    s1\n      s2 %s\n        head size=9\ndestination\n  image:base\n    s1\n      s2 %s\n        head size=9\n", c.primary, c.other))
			loan := NewSecondarySource(primary, other, ImageBase("base"), allUUIDs(primary))
			require.Empty(t, loan.Unusable)
			require.Contains(t, loan.Origins, "a-s1", "the others do not suffer")
			origin, lent := loan.Origins["a-s2"]
			require.Equal(t, c.lent, lent)
			require.Equal(t, c.unlike == "", len(loan.Mismatches) == 0)
			require.Contains(t, strings.Join(loan.Mismatches, ", "), c.unlike)
			if lent {
				theirs, _ := other.Snapshot("s2")
				require.Equal(t, originOf(theirs.Lvol), origin, "it is copied from there, by that UUID")
			}
		})
	}
}

func TestSecondaryNeedsSameParent(t *testing.T) {
	for what, c := range map[string]struct{ primary, other, unlike string }{
		"on its sibling":        {"s1\n      s2\n      s3 own=a/1\n        head", "s1\n      s2\n        s3 own=a/1\n          head", "snapshot s3 has parent s2"},
		"the parent was merged": {"s1\n      s2\n        s3 own=a/1\n          head", "s1\n      s3 own=a/1\n        head", "snapshot s3 has parent s1"},
		"it is the ancestor":    {"s1\n      s3 own=a/1\n        head", "s3 own=a/1\n      head", "snapshot s3 is the ancestor"},
	} {
		t.Run(what, func(t *testing.T) {
			primary, other, _ := two(t, "source\n  image:base\n    "+c.primary+"\ndestination\n  image:base\n    "+c.other+"\n")
			loan := NewSecondarySource(primary, other, ImageBase("base"), allUUIDs(primary))
			require.NotContains(t, loan.Origins, "a-s3")
			require.Contains(t, loan.Mismatches, c.unlike)
			onPrimary, onOther := SecondaryProofCandidates(primary, other, ImageBase("base"), allUUIDs(primary))
			require.NotContains(t, onPrimary, "a-s3")
			require.NotContains(t, onOther, "b-s3")
		})
	}
}

func TestUnusableSecondarySources(t *testing.T) {
	const healthy = "\n  image:base\n    s1 own=a/1\n      head\n"
	for what, c := range map[string]struct{ primary, other, why string }{
		"it has lost its image":             {healthy, "\n  image:base\n  s1 own=a/1\n    head\n", "lost backing image base"},
		"it has no head":                    {healthy, "\n  image:base\n    s1 own=a/1\n", "has no head"},
		"it is missing":                     {healthy, "\n  image:base\n", "replica vol-1-r-4e5f6a7b not found"},
		"it is in pieces":                   {healthy, "\n  image:base\n    s1 own=a/1\n      head\n    s2\n", "two ancestors"},
		"its host proves nothing":           {healthy, " upstream" + healthy, "the host of lvstore disk-b reports no checksums"},
		"the primary's host proves nothing": {" upstream" + healthy, healthy, "the host of lvstore disk-a reports no checksums"},
		"its clusters have another size":    {healthy, " cluster=4194304" + healthy, "clusters of"},
		"its image is another one":          {healthy, "\n  image:base sha=other\n    s1 own=a/1\n      head\n", "differs from the one"},
		"its image has other bytes":         {healthy, "\n  image:base sha=- uuid=- own=b/4\n    s1 own=a/1\n      head\n", "other bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			primary, other, _ := two(t, "source"+c.primary+"destination"+c.other)
			loan := NewSecondarySource(primary, other, ImageBase("base"), allUUIDs(primary))
			require.Empty(t, loan.Origins)
			require.Contains(t, loan.Unusable, c.why)
			onPrimary, onOther := SecondaryProofCandidates(primary, other, ImageBase("base"), allUUIDs(primary))
			require.Empty(t, slices.Concat(onPrimary, onOther), "nothing is read for it")
		})
	}
	primary, _, _ := two(t, "source"+healthy+"destination"+healthy)
	require.Contains(t, NewSecondarySource(primary, primary, ImageBase("base"), allUUIDs(primary)).Unusable, "the same replica")
}

func TestSecondaryServesImage(t *testing.T) {
	const under = "\n    s1 own=a/1\n      head\n"
	for what, c := range map[string]struct {
		other string // what follows the other's image
		lent  bool
	}{
		"the same bytes":          {"", true},
		"it could not be proven":  {"own=?/4", false},
		"another number":          {"own=base/3", false},
		"writable":                {"writable", false},
		"the same bytes, shorter": {"sha=- uuid=- size=4", true},
	} {
		t.Run(what, func(t *testing.T) {
			primary, other, _ := two(t, "source\n  image:base"+under+"destination\n  image:base "+c.other+under)
			loan := NewSecondarySource(primary, other, ImageBase("base"), []string{"a-image:base", "a-s1"})
			_, lent := loan.Origins["a-image:base"]
			require.Equal(t, c.lent, lent, "%v", loan)
			require.Contains(t, loan.Origins, "a-s1")
		})
	}
	primary, other, _ := two(t, "source\n  image:base"+under+"destination\n  lvol:other\n  image:base"+under)
	other.Store.Lvols[1].Parent = other.Store.Lvols[0].UUID
	require.NotContains(t, NewSecondarySource(primary, other, ImageBase("base"), []string{"a-image:base"}).Origins, "a-image:base", "it hangs on something")
}

// Only copied lvols are proven: proofs read the data.
func TestSecondaryProvesCopiedOnly(t *testing.T) {
	text := "\n  image:base\n    s1 own=a/1\n      s2 own=b/1\n        s3 own=c/1\n          head\n"
	primary, other, _ := two(t, "source"+text+"destination"+strings.Replace(text, "s3 own=c/1", "s4 own=c/1", 1))
	onPrimary, onOther := SecondaryProofCandidates(primary, other, ImageBase("base"), []string{"a-s2", "a-s3"})
	require.Equal(t, []string{"a-s2"}, onPrimary)
	require.Equal(t, []string{"b-s2"}, onOther)
	loan := NewSecondarySource(primary, other, ImageBase("base"), []string{"a-s2", "a-s3"})
	require.Len(t, loan.Origins, 1)
	require.Empty(t, loan.Mismatches, "what is not there is not told, such as a system snapshot (rule 3)")
}

func TestPrimaryIsFirstHealthySource(t *testing.T) {
	const (
		healthy  = "\n  image:base\n    s1\n      head\n"
		hurt     = "\n  image:base\n  s1\n    head\n"
		unknown  = "\n  s1\n    head\n" // hurt, if the volume has an image
		headless = "\n  image:base\n    s1\n"
		absent   = "\n  image:base\n"
		coarse   = " cluster=4194304" + healthy
	)
	for what, c := range map[string]struct {
		sources   []string
		requested Base
		primary   int
		flaws     []string // "": none
	}{
		"both are healthy":                 {[]string{healthy, healthy}, Base{}, 0, []string{"", ""}},
		"the first is hurt":                {[]string{hurt, healthy}, Base{}, 1, []string{"lost backing image base", ""}},
		"the second is hurt":               {[]string{healthy, hurt}, Base{}, 0, []string{"", "lost backing image base"}},
		"from the other's lineage":         {[]string{unknown, healthy}, Base{}, 1, []string{"lost backing image base", ""}},
		"all are hurt":                     {[]string{absent, hurt, hurt}, ImageBase("base"), 1, []string{"not found", "lost", "lost"}},
		"nobody knows of an image":         {[]string{unknown, unknown}, Base{}, 0, []string{"", ""}},
		"there is none":                    {[]string{unknown, unknown}, NoBase(), 0, []string{"", ""}},
		"the first is incomplete":          {[]string{headless, healthy}, Base{}, 1, []string{"has no head", ""}},
		"the first is not there":           {[]string{absent, healthy}, Base{}, 1, []string{"not found", ""}},
		"the first has other clusters":     {[]string{coarse, healthy}, Base{}, 1, []string{"must be equal", ""}},
		"nobody is there":                  {[]string{absent, headless}, Base{}, -1, []string{"not found", "has no head"}},
		"an incomplete one is no evidence": {[]string{headless, unknown}, Base{}, 1, []string{"has no head", ""}},
	} {
		t.Run(what, func(t *testing.T) {
			var sources []Replica
			for _, drawn := range c.sources {
				source, _, _ := two(t, "source"+drawn+"destination\n")
				sources = append(sources, source)
			}
			primary, flaws := PickPrimary(c.requested, sources, fixtureStore("b"))
			require.Equal(t, c.primary, primary)
			for i, flaw := range c.flaws {
				if flaw == "" {
					require.NoError(t, flaws[i])
					continue
				}
				requireRefusal(t, flaws[i], flaw)
			}
		})
	}
	unready, _, _ := two(t, "source"+healthy+"destination\n")
	unready.Store.Lvols[0].Image.Unready = "failed"
	whole, _, _ := two(t, "source"+healthy+"destination\n")
	primary, flaws := PickPrimary(Base{}, []Replica{unready, whole}, fixtureStore("b"))
	require.Equal(t, 1, primary)
	requireRefusal(t, flaws[0], `is recorded as "failed"`)
}
