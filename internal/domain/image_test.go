package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResolveImage(t *testing.T) {
	const knowsNothing = "  s1\n    head\n"
	const onBase = "  image:base\n    s1\n      head\n"
	const onOther = "  image:other\n    s1\n      head\n"
	const recordsBase = "  s1\n    head record=base\n"
	const recordsOther = "  s1\n    head record=other\n"
	const recordsNone = "  s1\n    head record=none\n"
	for what, c := range map[string]struct {
		requested           string
		source, destination string
		want                Base
		refused             []string
	}{
		"requested":                                 {"base", knowsNothing, knowsNothing, ImageBase("base"), nil},
		"none is requested":                         {"none", knowsNothing, "", NoBase(), nil},
		"from the source's record":                  {"nothing", recordsBase, "", ImageBase("base"), nil},
		"none, from the source's record":            {"nothing", recordsNone, "", NoBase(), nil},
		"from the destination's record":             {"nothing", knowsNothing, recordsBase, ImageBase("base"), nil},
		"from the source's lineage":                 {"nothing", onBase, "", ImageBase("base"), nil},
		"from the destination's lineage":            {"nothing", knowsNothing, onBase, ImageBase("base"), nil},
		"from the head's lineage":                   {"nothing", "  image:base\n    head\n", "", ImageBase("base"), nil},
		"all agree":                                 {"base", "  image:base\n    s1\n      head record=base\n", "  image:base\n    s1\n      head record=base\n", ImageBase("base"), nil},
		"all agree that there is none":              {"none", recordsNone, recordsNone, NoBase(), nil},
		"a lineage without one contradicts nothing": {"base", knowsNothing, recordsBase, ImageBase("base"), nil},
		"unknown":                                           {"nothing", knowsNothing, knowsNothing, Base{}, []string{"not known"}},
		"unknown, without a destination":                    {"nothing", knowsNothing, "", Base{}, []string{"not known"}},
		"the request contradicts the record":                {"other", recordsBase, "", Base{}, []string{"the request", "backing image other", "record on head vol-1-r-0a1b2c3d", "backing image base"}},
		"the request contradicts a record of none":          {"base", recordsNone, "", Base{}, []string{"backing image base", "no backing image"}},
		"a request of none contradicts the record":          {"none", recordsBase, "", Base{}, []string{"no backing image", "backing image base"}},
		"a request of none contradicts the lineage":         {"none", onBase, "", Base{}, []string{"no backing image", "lineage of replica vol-1-r-0a1b2c3d", "backing image base"}},
		"the request contradicts the destination's lineage": {"base", knowsNothing, onOther, Base{}, []string{"backing image base", "lineage of replica vol-1-r-4e5f6a7b", "backing image other"}},
		"the record against the lineage":                    {"nothing", "  image:other\n    s1\n      head record=base\n", "", Base{}, []string{"record on head vol-1-r-0a1b2c3d", "backing image base", "lineage of replica vol-1-r-0a1b2c3d", "backing image other"}},
		"record against record":                             {"nothing", recordsBase, recordsOther, Base{}, []string{"head vol-1-r-0a1b2c3d", "base", "head vol-1-r-4e5f6a7b", "other"}},
		"lineage against lineage":                           {"nothing", onBase, onOther, Base{}, []string{"lineage of replica vol-1-r-0a1b2c3d", "base", "lineage of replica vol-1-r-4e5f6a7b", "other"}},
		"two lineages in one replica":                       {"nothing", knowsNothing, "  image:base\n    s1\n  image:other\n    s2\n", Base{}, []string{"base", "other"}},
		"a third that disagrees":                            {"base", "  image:base\n    s1\n      head record=base\n", recordsOther, Base{}, []string{"backing image base", "backing image other"}},
		"an image named none is requested":                  {"none!", knowsNothing, "", Base{}, []string{`"none"`}},
		"an image named none in the lineage":                {"nothing", "  image:none\n    s1\n      head\n", "", Base{}, []string{`"none"`}},
		"an image named none contradicts the record":        {"nothing", "  image:none\n    s1\n      head record=none\n", "", Base{}, []string{"no backing image", "backing image none"}},
		"an ancestor on a snapshot itself":                  {"nothing", "  snap:vol-9-r-0000000a-snap-daily\n    lvol:vol-9-r-0000000a\n    s1\n      head\n", "", Base{}, []string{"vol-1-r-0a1b2c3d", "snapshot daily of volume vol-9 itself", "repair that replica", "--base clone:vol-9@daily"}},
		"an invalid record":                                 {"nothing", "  s1\n    head record=a/b\n", "", Base{}, []string{`"a/b"`}},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested "+strings.TrimSuffix(c.requested, "!")+"\nsource\n"+c.source+"destination\n"+c.destination)
			if strings.HasSuffix(c.requested, "!") {
				s.requested = ImageBase("none")
			}
			source, destination := s.replicas(t)
			got, err := ResolveBase(s.requested, source, destination)
			if c.refused != nil {
				requireRefusal(t, err, c.refused...)
				require.False(t, got.Known())
				_, planErr := s.plan()
				require.Equal(t, err, planErr, "nothing is planned with what is refused here")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestUnknownImageIsNotNone(t *testing.T) {
	require.False(t, Base{}.Known())
	require.True(t, NoBase().Known())
	require.NotEqual(t, Base{}, NoBase())
	for _, i := range []Base{{}, NoBase(), ImageBase("base")} {
		require.Equal(t, i, BaseOfRecord(i.Record()), "a record is read as it was written")
	}
	require.Equal(t, "an unknown base", Base{}.String())
	require.Equal(t, "no backing image", NoBase().String())
	require.Equal(t, "backing image base", ImageBase("base").String())
	require.True(t, Base{}.Parent().IsNone())
	require.True(t, NoBase().Parent().IsNone())
	require.Equal(t, "backing-image:base", ImageBase("base").Parent().String())
}

func TestImageKeptOrFetched(t *testing.T) {
	for what, c := range map[string]struct {
		source, destination string // lines of the stores
		fetched             bool
		refused             []string
		warned              []string
	}{
		"it is on both":                       {"  image:base\n    s1\n      head\n", "  image:base\n", false, nil, nil},
		"it is on the source only":            {"  image:base\n    s1\n      head\n", "", true, nil, nil},
		"it is on the destination only":       {"  s1\n    head\n", "  image:base\n", false, nil, []string{"lost"}},
		"it is on neither":                    {"  s1\n    head\n", "  s2\n", false, []string{"neither", "disk-a", "disk-b", "import"}, nil},
		"it is writable":                      {"  image:base\n    s1\n      head\n", "  image:base writable\n", false, []string{"writable", "disk-b"}, nil},
		"another UUID":                        {"  image:base\n    s1\n      head\n", "  image:base uuid=x\n", false, []string{"UUID x instead of uuid-base", "disk-a", "disk-b"}, nil},
		"another checksum":                    {"  image:base\n    s1\n      head\n", "  image:base sha=x\n", false, []string{"checksum x instead of sha-base"}, nil},
		"another size":                        {"  image:base\n    s1\n      head\n", "  image:base size=3\n", false, []string{"size 3145728 instead of 4194304"}, nil},
		"other bytes":                         {"  image:base uuid=- sha=-\n    s1\n      head\n", "  image:base own=x/4\n", false, []string{"other bytes"}, nil},
		"all of it is different":              {"  image:base\n    s1\n      head\n", "  image:base uuid=x sha=y size=3 own=z/1\n", false, []string{"UUID x", "checksum y", "size 3145728", "other bytes"}, nil},
		"the destination records nothing":     {"  image:base\n    s1\n      head\n", "  image:base uuid=- sha=-\n", false, nil, nil},
		"the source records nothing":          {"  image:base uuid=- sha=-\n    s1\n      head\n", "  image:base\n", false, nil, nil},
		"no record, and unproven here":        {"  image:base\n    s1\n      head\n", "  image:base uuid=- sha=- own=?/4\n", false, []string{"could not be proven", "disk-a", "disk-b"}, nil},
		"no record, and unproven there":       {"  image:base uuid=- sha=- own=?/4\n    s1\n      head\n", "  image:base\n", false, []string{"could not be proven"}, nil},
		"no record, and unproven on both":     {"  image:base uuid=- sha=- own=?/4\n    s1\n      head\n", "  image:base own=?/4\n", false, []string{"could not be proven"}, nil},
		"recorded, and of other bytes":        {"  image:base\n    s1\n      head\n", "  image:base own=x/4\n", false, []string{"other bytes"}, nil},
		"recorded, with zeros stored":         {"  image:base\n    s1\n      head\n", "  image:base own=x/3\n", false, nil, nil},
		"as large as the ancestor":            {"  image:base size=8\n    s1\n      head\n", "  image:base size=8\n", false, nil, nil},
		"larger than the ancestor":            {"  image:base size=9\n    s1\n      s2 size=10\n        head size=10\n", "  image:base size=9\n", false, []string{"9437184", "8388608", "snap-s1"}, nil},
		"fetched, larger than the ancestor":   {"  image:base size=9\n    s1\n      s2 size=10\n        head size=10\n", "", false, []string{"9437184", "8388608", "snap-s1"}, nil},
		"here alone, larger":                  {"  s1\n    head\n", "  image:base size=9\n", false, []string{"9437184", "8388608", "snap-s1"}, nil},
		"larger than the head of none":        {"  image:base size=9\n    head\n", "  image:base size=9\n", false, []string{"9437184", "8388608", "vol-1-r-0a1b2c3d"}, nil},
		"the source's has a parent":           {"  snap:deeper\n    image:base\n      s1\n        head\n", "", false, []string{"is a clone of another lvol", "disk-a"}, nil},
		"Longhorn downloads it":               {"  image:base\n    s1\n      head\n", "  filling:base\n", true, nil, []string{"bi-base-disk-store-b-temp-head"}},
		"Longhorn downloads another":          {"  image:base\n    s1\n      head\n", "  filling:other\n", true, nil, nil},
		"a run of ours fills one":             {"  image:base\n    s1\n      head\n", "  lvol:bi-rebuilding-0badcafe\n", true, nil, []string{"bi-rebuilding-0badcafe"}},
		"it is there, and one is filled, too": {"  image:base\n    s1\n      head\n", "  image:base\n  filling:base\n", false, nil, nil},
	} {
		t.Run(what, func(t *testing.T) {
			s := parseFixture(t, "requested base\noptions accept-hurt-source\nsource\n"+c.source+"destination\n"+c.destination)
			plan, err := s.plan()
			if c.refused != nil {
				requireRefusal(t, err, c.refused...)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.fetched, plan.FetchesImage())
			require.Len(t, plan.Warnings, len(c.warned), "%v", plan.Warnings)
			for i, part := range c.warned {
				require.Contains(t, plan.Warnings[i], part)
			}
			for _, o := range plan.Operations {
				require.NotContains(t, o.Target.id, "filling", "somebody's download is left alone")
				require.NotContains(t, o.Target.id, imageInFlight)
			}
			require.Empty(t, s.play(t, plan).violations(t, plan.Base))
		})
	}
}

func TestPlanWarnsOfImagesBeingFilled(t *testing.T) {
	s := parseFixture(t, "source\n  image:base\n    s1\n      head\ndestination\n  filling:base\n  lvol:bi-rebuilding-0badcafe\n  snap:bi-rebuilding-00c0ffee\n")
	plan := s.mustPlan(t)
	require.Len(t, plan.Warnings, 3)
	all := strings.Join(plan.Warnings, "\n")
	for _, name := range []string{"temp-head", "0badcafe", "00c0ffee"} {
		require.Contains(t, all, name)
	}
}

func TestWarnsOfUnverifiedFetchedImage(t *testing.T) {
	for flavours, unverified := range map[string]bool{
		"source\n%sdestination\n":                   false,
		"source upstream\n%sdestination\n":          true,
		"source\n%sdestination upstream\n":          true,
		"source upstream\n%sdestination upstream\n": true,
	} {
		s := parseFixture(t, "requested base\n"+strings.Replace(flavours, "%s", "  image:base\n    s1\n      head\n", 1))
		plan := s.mustPlan(t)
		require.Equal(t, unverified, len(plan.Warnings) == 1, flavours)
		if unverified {
			require.Contains(t, plan.Warnings[0], "unverified")
		}
	}
}

// An image that is assumed to be equal without a proof is reported in every run.
func TestNoticesUnverifiedExistingImage(t *testing.T) {
	for flavours, unverified := range map[string]bool{
		"source\n%sdestination\n  image:base\n":                   false,
		"source upstream\n%sdestination\n  image:base\n":          true,
		"source\n%sdestination upstream\n  image:base\n":          true,
		"source upstream\n%sdestination upstream\n  image:base\n": true,
	} {
		s := parseFixture(t, "requested base\n"+strings.Replace(flavours, "%s", "  image:base\n    s1\n      head\n", 1))
		plan := s.mustPlan(t)
		require.Equal(t, unverified, len(plan.Notices) == 1, flavours)
		require.Empty(t, plan.Warnings)
		if unverified {
			require.Contains(t, plan.Notices[0], "unverified")
		}
	}
}

func TestFetchedImageGetsNameAndRecords(t *testing.T) {
	s := parseFixture(t, "source\n  image:base own=i/2 size=3\n    s1\n      head\ndestination\n")
	plan := s.mustPlan(t)
	seal := plan.Operations[operationAt(t, plan, VerbSeal, "new image base")]
	require.Equal(t, "bi-base-disk-store-b", seal.Name)
	require.Equal(t, ImageRecord{UUID: "uuid-base", Checksum: "sha-base"}, *seal.Image)
	require.True(t, seal.Parent.IsNone())
	require.True(t, seal.Target.IsImage())
	create := plan.Operations[operationAt(t, plan, VerbCreate, "new image base")]
	require.EqualValues(t, 3*proofCluster, create.Size)
	step := plan.Steps[0]
	require.Equal(t, ActionFetchImage, step.Action)
	require.EqualValues(t, 2, step.Clusters)
	require.Len(t, step.Operations, 3)
}

func TestLongChecksumsShortenedInMessages(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 8)
	s := parseFixture(t, "source\n  image:base sha="+long+"\n    s1\n      head\ndestination\n  image:base sha=f"+long+"\n")
	_, err := s.plan()
	requireRefusal(t, err, "checksum f0123456789abcde… instead of 0123456789abcdef…")
}

func TestHurt(t *testing.T) {
	for what, c := range map[string]struct {
		drawn string
		image Base
		hurt  bool
	}{
		"an ancestor on the image":                 {"  image:base\n    s1\n      head\n", ImageBase("base"), false},
		"a loose ancestor":                         {"  image:base\n  s1\n    head\n", ImageBase("base"), true},
		"a loose ancestor, of a volume with none":  {"  s1\n    head\n", NoBase(), false},
		"a loose ancestor, and nothing is known":   {"  s1\n    head\n", Base{}, false},
		"a loose head without snapshots":           {"  image:base\n  head\n", ImageBase("base"), true},
		"a head without snapshots on the image":    {"  image:base\n    head\n", ImageBase("base"), false},
		"an ancestor on a spacer of another image": {"  spacer:0badcafe\n    s1\n      head\n", ImageBase("base"), true},
	} {
		t.Run(what, func(t *testing.T) {
			r, err := NewReplica(storeOf(t, c.drawn), destinationReplica)
			require.NoError(t, err)
			require.Equal(t, c.hurt, r.Hurt(c.image))
		})
	}
}
