package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BUG 9. "vol-1-snap-rebuilding" ends in "-rebuilding": Longhorn and ReplicaInFlight
// take it for an in-flight lvol of replica vol-1-snap.
func TestBug9_SnapshotNameLikeInFlightRefused(t *testing.T) {
	for _, name := range []string{"rebuilding", "rebuilding-0badcafe", "temp-head"} {
		require.Error(t, CheckSnapshotName(name), name)
	}
}

// In-flight lvols of a replica "bi" have names like in-flight images and are never
// found again; a head "bi-x-disk-UUID" is an image.
func TestBug9_ReplicaNameLikeImageRefused(t *testing.T) {
	require.Error(t, CheckReplicaName("bi"))
}

// A scenario could not name it as a parent.
func TestSnapshotNameNoneRefused(t *testing.T) {
	require.ErrorContains(t, CheckSnapshotName("none"), `snapshot name "none"`)
	require.NoError(t, CheckSnapshotName("nonesuch"))
}
