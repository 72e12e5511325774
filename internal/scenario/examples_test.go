package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/scenario"
)

const examples = "../../examples"

func TestExamplesParse(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "# "), "it says first what happens")
			s, err := scenario.Parse(file)
			require.NoError(t, err)
			w := buildOf(t, s)
			source, err := domain.NewReplica(w.source.store(), w.SourceReplica)
			require.NoError(t, err)
			_, err = domain.NewSnapshotTree(source)
			require.NoError(t, err)
			require.Equal(t, s.Source.Hurt, source.Hurt(w.Base))
			_, err = domain.NewReplica(w.destination.store(), w.DestinationReplica)
			require.NoError(t, err)
		})
	}
}

func TestDiskImageExampleHasFileSystem(t *testing.T) {
	s, err := scenario.Parse(examples + "/disk-image.yaml")
	require.NoError(t, err)
	w := buildOf(t, s)
	view := string(w.source.read(w.source.lvol("vol-1-r-1"), 0, 1*mib))
	require.Equal(t, "\x53\xef", view[1024+56:1024+58], "the magic number of ext2")
	require.Contains(t, view, "These bytes belong to the backing image.\n")
}

func TestForgedExampleLooksOriginal(t *testing.T) {
	s, err := scenario.Parse(examples + "/damaged-leftover.yaml")
	require.NoError(t, err)
	w := buildOf(t, s)
	for _, name := range []string{"snap12", "snap13"} {
		original, forged := w.source.snapshot(name), w.destination.snapshot(name)
		require.Equal(t, original.Attributes, forged.Attributes)
		require.Equal(t, original.Own, forged.Own)
		require.NotEqual(t, w.source.view(original), w.destination.view(forged))
	}
}
