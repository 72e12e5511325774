//go:build unix

package journalfile

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rootgraft/rebuild"
)

func TestLockGivesUpOnAReaderThatStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	open := func() *os.File {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, file.Close()) })
		return file
	}
	reader, writer := open(), open()
	require.NoError(t, flock(reader, unix.LOCK_SH))
	synctest.Test(t, func(t *testing.T) {
		require.ErrorIs(t, lock(writer), rebuild.ErrBusy)
	})
	require.NoError(t, flock(reader, unix.LOCK_UN))
	require.NoError(t, lock(writer))
}
