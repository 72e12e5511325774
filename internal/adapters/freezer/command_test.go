//go:build unix

package freezer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/freezer"
	"github.com/rootgraft/rebuild/internal/ports"
)

// inDir makes commands run in a directory with a file for each state.
func inDir(t *testing.T, freeze, thaw string, timeout time.Duration) (f *freezer.Freezer, exists func(name string) bool) {
	t.Helper()
	dir := t.TempDir()
	cd := "cd '" + dir + "' && "
	return freezer.Commands(cd+freeze, cd+thaw, timeout), func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
}

func TestCommands(t *testing.T) {
	f, exists := inDir(t, "touch frozen", "rm -f frozen", 0)
	require.NoError(t, f.Freeze(t.Context(), limit, func(context.Context) error {
		require.True(t, exists("frozen"))
		return nil
	}))
	require.False(t, exists("frozen"))
	require.NoError(t, f.Thaw(t.Context()))
}

func TestFreezeCommandFails(t *testing.T) {
	f, exists := inDir(t, "touch frozen; echo no such device; exit 3", "rm -f frozen", 0)
	err := f.Freeze(t.Context(), limit, notCalled(t))
	require.ErrorIs(t, err, ports.ErrNotFrozen)
	require.ErrorContains(t, err, "exit status 3: no such device")
	require.False(t, exists("frozen"), "the thaw command was run")
}

func TestFreezeCommandHangs(t *testing.T) {
	f, exists := inDir(t, "touch frozen; sleep 600 & sleep 600", "rm -f frozen", 50*time.Millisecond)
	err := f.Freeze(t.Context(), time.Minute, notCalled(t))
	require.ErrorIs(t, err, ports.ErrNotFrozen)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, exists("frozen"))
}

func TestThawCommandIsRepeated(t *testing.T) {
	f, exists := inDir(t, "touch frozen", "[ -e tried ] && rm frozen || { touch tried; exit 1; }", 0)
	require.NoError(t, f.Freeze(t.Context(), limit, func(context.Context) error { return nil }))
	require.False(t, exists("frozen"))
}

// Nothing was changed yet, so a mistyped command is told at once.
func TestMistypedThawCommandIsNotRepeated(t *testing.T) {
	f, exists := inDir(t, "touch frozen", "[ ! -e tried ] || touch again; touch tried; dmstup resume", 0)
	err := f.Thaw(t.Context())
	require.ErrorIs(t, err, ports.ErrNotThawed)
	require.ErrorContains(t, err, "command not found")
	require.True(t, exists("tried"))
	require.False(t, exists("again"))
}

func TestMistypedFreezeCommandIsFound(t *testing.T) {
	for line, known := range map[string]bool{
		"touch frozen": true, "cd / && touch frozen": true, "[ -e / ]": true, "X=1 nothing-such": true, "f () { true; }; f": true,
		"'nothing-such' x": true, "nothing-such": false, "  ./nothing-such vol-1": false,
	} {
		err := freezer.Commands(line, "true", 0).CheckFreeze(t.Context())
		require.Equal(t, !known, errors.Is(err, ports.ErrUnsupported), "%s: %v", line, err)
	}
}
