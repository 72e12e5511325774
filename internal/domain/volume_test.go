package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func twoMembers() (Volume, Member) {
	v := Volume{Name: "vol-1", Members: []Member{{Head: "a", Name: "a", Mode: ModeRW}}}
	joined := Member{Head: "b", Name: "b", Since: time.Unix(7, 0)}
	v, err := v.Join(joined)
	if err != nil {
		panic(err)
	}
	return v, joined
}

// TestMembersChangeTheirMode: absent, being rebuilt, whole, and lost from either.
func TestMembersChangeTheirMode(t *testing.T) {
	v, joined := twoMembers()
	m, _ := v.Member("b")
	require.Equal(t, ModeWO, m.Mode)
	_, err := v.Join(joined)
	require.ErrorContains(t, err, "is a member of volume vol-1 already")

	landed, err := v.Land(joined)
	require.NoError(t, err)
	m, _ = landed.Member("b")
	require.Equal(t, ModeRW, m.Mode)
	m, _ = v.Member("b")
	require.Equal(t, ModeWO, m.Mode, "a Volume is a value")

	lost := landed.Lose("b", "its host is gone")
	_, err = lost.Land(joined)
	require.ErrorContains(t, err, "lost member b, so it lacks writes: its host is gone")
	_, err = landed.Lose("b", "").Land(joined)
	require.EqualError(t, err, "volume vol-1 lost member b, so it lacks writes")
	left, err := lost.Leave("b")
	require.NoError(t, err)
	require.Len(t, left.Members, 1)
	left, err = left.Leave("b")
	require.NoError(t, err, "who is no member has left")
	_, err = left.Leave("a")
	require.ErrorContains(t, err, "the last whole member")
}

// TestTheLastWholeMemberStays: one that is being rebuilt does not replace it.
func TestTheLastWholeMemberStays(t *testing.T) {
	v, joined := twoMembers()
	_, err := v.Leave("a")
	require.ErrorContains(t, err, "a is the last whole member of volume vol-1")
	v, err = v.Land(joined)
	require.NoError(t, err)
	_, err = v.Leave("a")
	require.NoError(t, err)
}

// TestOnlyUnbrokenMembershipIsWhole: a mirror that dropped a member for a moment has not
// written to it.
func TestOnlyUnbrokenMembershipIsWhole(t *testing.T) {
	v, joined := twoMembers()
	for says, change := range map[string]func(v Volume) Volume{
		"no member of volume vol-1 any more": func(v Volume) Volume { v, _ = v.Leave("b"); return v },
		"lost member b":                      func(v Volume) Volume { return v.Lose("b", "slow") },
		"without member b for a time":        func(v Volume) Volume { v.Members[1].Since = time.Unix(8, 0); return v },
		"does not tell since when":           func(v Volume) Volume { v.Members[1].Since = time.Time{}; return v },
	} {
		changed := v
		changed.Members = append([]Member(nil), v.Members...)
		_, err := change(changed).Land(joined)
		require.ErrorContains(t, err, says)
	}
	require.NoError(t, v.CheckUnbroken(joined))
}
