package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOddReplicasNeedMajority(t *testing.T) {
	of := func(groups ...[]string) Difference {
		d := Difference{}
		for _, replicas := range groups {
			d.Groups = append(d.Groups, Group{Replicas: replicas})
		}
		return d
	}
	require.Equal(t, []string{"c"}, of([]string{"a", "b"}, []string{"c"}).Odd())
	require.Equal(t, []string{"d", "e"}, of([]string{"a", "b", "c"}, []string{"d"}, []string{"e"}).Odd())
	require.Empty(t, of([]string{"a"}, []string{"b"}).Odd())
	require.Empty(t, of([]string{"a", "b"}, []string{"c", "d"}).Odd())
	require.Empty(t, of([]string{"a", "b"}, []string{"c"}, []string{"d"}).Odd())
	require.Empty(t, Difference{}.Odd())
}

func TestVolumeFaultsNameEveryMemberThatIsNotWhole(t *testing.T) {
	part := func(name string, m Mode, reason string) VolumeReplica {
		return VolumeReplica{Replica: Replica{Name: name, Store: Listing{Name: "disk"}}, Member: Member{Mode: m, Reason: reason}}
	}
	v := Volume{Name: "vol"}
	require.Equal(t, []string{
		"b on lvstore disk is being rebuilt, or was left by a rebuild",
		"c on lvstore disk is lost: it failed",
		"d on lvstore disk is no member of volume vol",
		"member x of volume vol is none of the replicas listed",
	}, v.Faults([]VolumeReplica{part("a", ModeRW, ""), part("b", ModeWO, ""), part("c", ModeERR, "it failed"), part("d", "", "")}, []Member{{Name: "x"}}))
}

func TestSizeText(t *testing.T) {
	require.Equal(t, "32 MiB", sizeText(32<<20))
	require.Equal(t, "1000 bytes", sizeText(1000))
}
