package app_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestImageOfAnyLengthIsVerified(t *testing.T) {
	for name, p := range map[string][]byte{
		"ends within a cluster":   disk(),
		"whole clusters":          disk()[:5*imageCluster],
		"ends in zeros":           append(disk(), make([]byte, 500)...),
		"ends in a zero cluster":  disk()[:3*imageCluster],
		"one byte":                {1},
		"one zero":                {0},
		"nothing but zeros":       make([]byte, 3*imageCluster-1),
		"a zero into a cluster":   append(disk()[:imageCluster], 0),
		"a cluster less one byte": disk()[:imageCluster-1],
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			_, err := app.New(nil).ImportImage(t.Context(), importOf(host, p))
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
			require.NoError(t, err)
			require.Equal(t, sumOf(p), check.SHA512)
			require.EqualValues(t, len(p), check.Bytes)
		})
	}
}

func TestAnyOtherByteFailsImageVerification(t *testing.T) {
	for name, offset := range map[string]uint64{"in the first": 0, "in a hole": 2 * imageCluster, "in the last": 7*imageCluster + 999, "in the padding": 7*imageCluster + 1000, "at the end": 8*imageCluster - 1} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			l, err := host.Create(t.Context(), "bi-rebuilding-00000001", 8*imageCluster)
			require.NoError(t, err)
			p := append(disk(), make([]byte, imageCluster-1000)...)
			p[offset] ^= 0x80
			require.NoError(t, host.WriteAt(l, p, 0))
			_, err = host.Seal(t.Context(), l, "bi-base-disk-"+store.UUID, ports.SealRecord{Image: &domain.ImageRecord{Checksum: sumOf(disk())}})
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
			require.ErrorIs(t, err, ports.ErrCorrupt)
			require.ErrorContains(t, err, "expected "+sumOf(disk()))
			require.Equal(t, sumOf(p), check.SHA512)
			require.EqualValues(t, len(p), check.Bytes)
		})
	}
}

func TestImageWithoutRecordIsComparedWithChecksum(t *testing.T) {
	host := imageHost(memory.Upstream)
	report, err := app.New(nil).ImportImage(t.Context(), importOf(host, disk()))
	require.NoError(t, err)
	require.False(t, report.Recorded)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", "", nil)
	require.ErrorIs(t, err, app.ErrRefused)
	require.ErrorContains(t, err, "records no checksum")
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", sumOf(disk()), nil)
	require.NoError(t, err)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", sumOf(nil), nil)
	require.ErrorIs(t, err, ports.ErrCorrupt)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "base", "x", nil)
	require.ErrorIs(t, err, app.ErrRefused)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "other", "", nil)
	require.ErrorIs(t, err, ports.ErrNotFound)
	_, err = app.New(nil).VerifyImage(t.Context(), host, "a/b", "", nil)
	require.ErrorIs(t, err, app.ErrRefused)
}

// The SHA-512 of a file does not make its image
// corrupt.
func TestField_10036_WhichChecksumWasGiven(t *testing.T) {
	content, file, other := sumOf(disk()), sumOf([]byte("the file")), sumOf([]byte("another"))
	for name, c := range map[string]struct {
		recorded, given string
		is              error
		says            string
	}{
		"the content's, recorded":             {content, "", nil, ""},
		"the content's, given":                {content, content, nil, ""},
		"the file's, given":                   {content, file, app.ErrRefused, "the image is intact: its content has the recorded SHA-512 " + content + "; the given SHA-512 is that of a qcow2 file or of another image"},
		"the file's, recorded by Longhorn":    {file, "", ports.ErrCorrupt, "if Longhorn made this image, give the SHA-512 of the content"},
		"the file's recorded, the content's":  {file, content, nil, ""},
		"the file's, recorded and given":      {file, file, ports.ErrCorrupt, "Longhorn records the SHA-512 of a qcow2 file"},
		"neither of them":                     {file, other, ports.ErrCorrupt, "expected " + other + " (the SHA-512 of a qcow2 file differs from that of its content)"},
		"nothing is recorded, the file's":     {"", file, ports.ErrCorrupt, "expected " + file + " (the SHA-512 of a qcow2 file differs from that of its content)"},
		"nothing is recorded, the content's.": {"", content, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			store, err := host.List(t.Context())
			require.NoError(t, err)
			l, err := host.Create(t.Context(), "bi-rebuilding-00000001", 8*imageCluster)
			require.NoError(t, err)
			require.NoError(t, host.WriteAt(l, disk(), 0))
			_, err = host.Seal(t.Context(), l, "bi-base-disk-"+store.UUID, ports.SealRecord{Image: &domain.ImageRecord{Checksum: c.recorded}})
			require.NoError(t, err)
			check, err := app.New(nil).VerifyImage(t.Context(), host, "base", c.given, nil)
			require.Equal(t, c.recorded, check.Recorded)
			if c.is == nil {
				require.NoError(t, err)
				require.Equal(t, content, check.SHA512)
				return
			}
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
			for _, sentinel := range []error{app.ErrRefused, ports.ErrCorrupt} {
				require.Equal(t, errors.Is(c.is, sentinel), errors.Is(err, sentinel))
			}
		})
	}
}
