package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const importUUID = "01234567-89ab-4cde-8f01-23456789abcd"

func importStore(names ...string) Listing {
	s := Listing{UUID: "5d0c42c9", Name: "disk-1", ClusterSize: 1 << 20, TotalClusters: 100, FreeClusters: 50, NameLimit: 63}
	for i, name := range names {
		s.Lvols = append(s.Lvols, Lvol{UUID: string('a' + rune(i)), Name: name, ReadOnly: true})
	}
	return s
}

func TestImageImportSpaceIsExact(t *testing.T) {
	i := ImageImport{Name: "base", UUID: importUUID, Size: 1 << 40, Clusters: 49, Reserve: 1}
	require.NoError(t, CheckImageImport(importStore(), i), "thin: what is zero needs no room")
	i.Clusters++
	requireRefusal(t, CheckImageImport(importStore(), i), "needs 50 clusters", "1 stay in reserve", "50 are free")
	i.Clusters, i.Reserve = 0, 100
	require.NoError(t, CheckImageImport(importStore(), i), "nothing needs nothing")
	i.Reserve = 101
	requireRefusal(t, CheckImageImport(importStore(), i), "101 %")
}

func TestImageUUIDFormat(t *testing.T) {
	for _, bad := range []string{"", "x", "01234567-89AB-4cde-8f01-23456789abcd", "0123456789ab-4cde-8f01-23456789abcd", importUUID + "-", "g1234567-89ab-4cde-8f01-23456789abcd"} {
		requireRefusal(t, CheckImageImport(importStore(), ImageImport{Name: "base", UUID: bad, Size: 1}), bad)
	}
}

func TestImageRunNameIsNoReplicaName(t *testing.T) {
	for _, image := range []string{"base", "a-rebuilding", "x"} {
		require.Error(t, CheckReplicaName(ImageRunName(image)))
	}
}

func TestImageStates(t *testing.T) {
	s := importStore("bi-base-disk-5d0c42c9", "bi-rebuilding-0badcafe", "bi-new-disk-5d0c42c9-temp-head", "bi-odd-disk-5d0c42c9",
		"bi-base-disk-other", "vol-1", "bi-rebuilding-0badcafe-temp-head", "bi-failed-disk-5d0c42c9", "bi-outside-disk-5d0c42c9", "bi-gone-disk-5d0c42c9")
	s.Lvols[3].ReadOnly = false
	s.Lvols[7].Image.Unready, s.Lvols[8].External, s.Lvols[9].Degraded = "failed", "nvme0n1", true
	s.Lvols[5].Parent = s.Lvols[0].UUID
	var got []string
	for _, i := range s.Images() {
		got = append(got, i.Name+" "+string(i.State))
		require.Equal(t, i.Name == "base", i.Clones == 1)
	}
	require.Equal(t, []string{"base ready", " in-flight", "new downloading", "odd writable", "failed unready", "outside external", "gone degraded"}, got)
}

func TestSHA512Format(t *testing.T) {
	sum := ""
	for range 64 {
		sum += "aB"
	}
	got, err := CheckSHA512(sum)
	require.NoError(t, err)
	require.Regexp(t, "^(ab){64}$", got)
	for _, bad := range []string{"", sum[1:], sum + "00", sum[:126] + "zz"} {
		_, err := CheckSHA512(bad)
		require.Error(t, err)
	}
}
