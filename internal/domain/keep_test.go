package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeepReasons(t *testing.T) {
	for what, c := range map[string]struct {
		source, destination string // what follows "s1"
		options             string
		flavours            string // "fork fork" if nothing is said
		kept                bool
		reason              string
	}{
		"all is equal":                                 {"own=a/2 at=3", "own=a/2 at=3", "", "", true, "proven identical"},
		"both are empty":                               {"", "", "", "", true, "proven identical"},
		"another size":                                 {"own=a/2 size=7", "own=a/2 size=8", "", "", false, "8388608 bytes instead of 7340032"},
		"another number of clusters":                   {"own=a/2", "own=a/3", "", "", false, "3 clusters of its own instead of 2"},
		"another time of creation":                     {"own=a/2 at=3", "own=a/2 at=4", "", "", false, "another time of creation"},
		"another creator":                              {"own=a/2", "own=a/2 system", "", "", false, "another creator"},
		"the same map, another checksum":               {"own=a,b/2", "own=a,c/2", "", "", false, "other data"},
		"the same checksum, another map":               {"own=b,a/2", "own=c,a/2", "", "", false, "other data"},
		"the source is not proven":                     {"own=?/2", "own=a/2", "", "", false, "could not be proven"},
		"the destination is not proven":                {"own=a/2", "own=?/2", "", "", false, "could not be proven"},
		"neither is proven":                            {"own=?/2", "own=?/2", "", "", false, "could not be proven"},
		"a map alone":                                  {"own=a,/2", "own=a,/2", "", "", false, "could not be proven"},
		"a checksum alone":                             {"own=,a/2", "own=,a/2", "", "", false, "could not be proven"},
		"the source's host proves nothing":             {"own=a/2", "own=a/2", "", "upstream fork", false, "the source's host reports no checksums"},
		"the destination's host proves nothing":        {"own=a/2", "own=a/2", "", "fork upstream", false, "the destination's host reports no checksums"},
		"neither host proves anything":                 {"own=a/2", "own=a/2", "", "upstream upstream", false, "reports no checksums"},
		"fast rebuild is off":                          {"own=a/2", "own=a/2", "full", "", false, "fast rebuild is off"},
		"fast is off, and it was sealed by us":         {"own=?/2", "own=?/2", "full sealed=s1/2", "", false, "fast rebuild is off"},
		"it was sealed by us":                          {"own=a/2", "own=a/2", "sealed=s1/2", "upstream upstream", true, "sealed from this snapshot"},
		"it was sealed by us, on hosts that can prove": {"own=?/2", "own=?/2", "sealed=s1/2", "", true, "sealed from this snapshot"},
		"sealed by us, then both have grown":           {"own=a/3", "own=a/3", "sealed=s1/2", "upstream upstream", false, "reports no checksums"},
		"sealed by us, then one has grown":             {"own=a/2", "own=a/3", "sealed=s1/2", "upstream upstream", false, "3 clusters of its own instead of 2"},
		"sealed by us, but with another time":          {"own=?/2 at=1", "own=?/2 at=2", "sealed=s1/2", "", false, "another time of creation"},
		"another one was sealed by us":                 {"own=a/2", "own=a/2", "sealed=s2/2", "upstream upstream", false, "reports no checksums"},
		"no attributes where one host records none":    {"own=a/2 at=1", "own=a/2 at=2", "sealed=s1/2", "fork upstream", true, "sealed from this snapshot"},
	} {
		t.Run(what, func(t *testing.T) {
			flavour := strings.Fields(strings.ReplaceAll(c.flavours+" fork fork", "fork", "block=4096"))
			s := parseFixture(t, fmt.Sprintf("requested none\noptions %s\nsource %s\n  s1 %s\n    head size=8\ndestination %s\n  s1 %s\n",
				c.options, flavour[0], c.source, flavour[1], c.destination))
			step := stepOf(t, s.mustPlan(t), "s1")
			require.Equal(t, c.kept, step.Action == ActionKeep)
			require.Contains(t, step.Reason, c.reason)
			if c.kept {
				require.Zero(t, step.Clusters)
			}
		})
	}
}

func TestSealingMatchesUUIDsAndCounts(t *testing.T) {
	right := Sealing{Source: "a-s1", Copy: "b-s1", SourceClusters: 2, CopyClusters: 2}
	for what, c := range map[string]struct {
		change func(*Sealing)
		kept   bool
	}{
		"right":                    {func(*Sealing) {}, true},
		"of another source":        {func(s *Sealing) { s.Source = "a-s0" }, false},
		"of another copy":          {func(s *Sealing) { s.Copy = "b-s0" }, false},
		"the source has grown":     {func(s *Sealing) { s.SourceClusters = 1 }, false},
		"the copy has grown":       {func(s *Sealing) { s.CopyClusters = 1 }, false},
		"the other way round":      {func(s *Sealing) { s.Source, s.Copy = s.Copy, s.Source }, false},
		"both had another number":  {func(s *Sealing) { s.SourceClusters, s.CopyClusters = 3, 3 }, false},
		"neither of the two is it": {func(s *Sealing) { s.Source, s.Copy = "", "" }, false},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested none\nsource upstream\n  s1 own=a/2\n    head\ndestination upstream\n  s1 own=a/2\n")
			sealing := right
			c.change(&sealing)
			s.options.Sealings = []Sealing{sealing}
			require.Equal(t, c.kept, stepOf(t, s.mustPlan(t), "s1").Action == ActionKeep)
		})
	}
}

func TestProofCandidates(t *testing.T) {
	s := parseFixture(t, `
requested base
options sealed=sealed/2
source
  image:base
    same own=?/2
      missing own=?/1
        count own=?/1
          size own=?/1 size=8
            sealed own=?/2
              head size=9
destination
  image:base
  same own=?/2
  count own=?/2
  size own=?/1 size=7
  sealed own=?/2
  extra own=?/1
`)
	source, destination := s.replicas(t)
	onSource, onDestination := ProofCandidates(source, destination, s.requested, s.options)
	require.Equal(t, []string{"a-same"}, onSource)
	require.Equal(t, []string{"b-same"}, onDestination)

	full := s.options
	full.Full = true
	onSource, onDestination = ProofCandidates(source, destination, s.requested, full)
	require.Empty(t, onSource)
	require.Empty(t, onDestination)
}

func TestProofCandidatesIncludeUnrecordedImage(t *testing.T) {
	for what, c := range map[string]struct {
		source, destination string
		image               Base
		asked               bool
	}{
		"both record the same":                         {"  image:base\n", "  image:base\n", ImageBase("base"), false},
		"one records nothing":                          {"  image:base uuid=- sha=-\n", "  image:base\n", ImageBase("base"), true},
		"neither records anything":                     {"  image:base uuid=- sha=-\n", "  image:base uuid=- sha=-\n", ImageBase("base"), true},
		"the same UUID, no checksums":                  {"  image:base sha=-\n", "  image:base sha=-\n", ImageBase("base"), false},
		"the same checksum, no UUIDs":                  {"  image:base uuid=-\n", "  image:base uuid=-\n", ImageBase("base"), false},
		"another size: that is known without a proof":  {"  image:base uuid=- sha=-\n", "  image:base size=3\n", ImageBase("base"), false},
		"it is on one only":                            {"  image:base uuid=- sha=-\n", "", ImageBase("base"), false},
		"another image":                                {"  image:base uuid=- sha=-\n", "  image:base\n", ImageBase("other"), false},
		"the volume has none":                          {"  image:base uuid=- sha=-\n", "  image:base\n", NoBase(), false},
		"what is recorded is on either side different": {"  image:base sha=-\n", "  image:base uuid=-\n", ImageBase("base"), true},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "source\n"+c.source+"destination\n"+c.destination)
			source, destination := s.replicas(t)
			onSource, onDestination := ProofCandidates(source, destination, c.image, Options{})
			require.Equal(t, c.asked, len(onSource) == 1)
			require.Len(t, onDestination, len(onSource))
			if c.asked {
				require.Equal(t, []string{"a-image:base"}, onSource)
				require.Equal(t, []string{"b-image:base"}, onDestination)
			}
		})
	}
}

func TestWithProofsKeepsSnapshot(t *testing.T) {
	s := parseFixture(t, "requested none\nsource\n  s1 own=?/2\n    head\ndestination\n  s1 own=?/2\n")
	source, destination := s.replicas(t)
	proof := ownClusters("data", 2)
	provenSource, err := source.WithProofs(map[string]Clusters{"a-s1": proof})
	require.NoError(t, err)
	provenDestination, err := destination.WithProofs(map[string]Clusters{"b-s1": proof, "unknown": proof})
	require.NoError(t, err)
	plan, err := PlanRebuild(provenSource, provenDestination, s.requested, Options{})
	require.NoError(t, err)
	require.Equal(t, ActionKeep, stepOf(t, plan, "s1").Action)
	was, _ := source.Snapshot("s1")
	require.False(t, was.Lvol.Own.Proven(), "the replica that it was made from is as it was")
	require.False(t, source.Store.Lvols[0].Own.Proven())
}

// SPDK records whole seconds, and hosts may be in other time zones.
func TestAttributesEqualToTheSecond(t *testing.T) {
	a := createdAt(1)
	b := a
	b.CreatedAt = b.CreatedAt.Add(1e9 - 1)
	require.True(t, a.Equal(b))
	b.CreatedAt = a.CreatedAt.Add(1e9)
	require.False(t, a.Equal(b))
}
