package app_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

// counting counts what is read of a content, from the beginning on.
type counting struct {
	io.ReaderAt
	read map[int64]int // by offset of a cluster
}

func (c *counting) ReadAt(p []byte, offset int64) (int, error) {
	for at := offset; at < offset+int64(len(p)); at += imageCluster {
		c.read[at]++
	}
	return c.ReaderAt.ReadAt(p, offset)
}

// holes is a content that knows that all but some of its clusters are zero, and
// tells it in parts.
type holes struct {
	*counting
	size uint64
	data map[uint64]bool // by number of the cluster
}

func (h holes) Extent(offset uint64) (length uint64, zero bool, err error) {
	return min(imageCluster-offset%imageCluster, h.size-offset), !h.data[offset/imageCluster], nil
}

func TestContentIsReadOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*app.ImageRequest)
		often  int
	}{
		"where nothing is to be known before": {func(*app.ImageRequest) {}, 1},
		"without a checksum":                  {func(r *app.ImageRequest) { r.NoChecksum = true }, 1},
		"or twice, for a checksum":            {func(r *app.ImageRequest) { r.SHA512 = sumOf(disk()) }, 2},
		"or twice, for room":                  {func(r *app.ImageRequest) { r.ReservePercent = 90 }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			host := imageHost(memory.Fork)
			request := importOf(host, disk())
			c.change(&request)
			content := &counting{request.Content, make(map[int64]int)}
			request.Content = content
			report, err := app.New(nil).ImportImage(t.Context(), request)
			require.NoError(t, err)
			require.EqualValues(t, 5*imageCluster, report.WrittenBytes)
			require.Len(t, content.read, 8)
			for at, often := range content.read {
				require.Equal(t, c.often, often, "at %d", at)
			}
			requireContent(t, host, report, disk())
		})
	}
}

func requireContent(t *testing.T, host *memory.Host, report app.ImageReport, want []byte) {
	t.Helper()
	got := make([]byte, report.Lvol.Size)
	require.NoError(t, host.ReadAt(report.Lvol.UUID, got, 0))
	require.True(t, bytes.Equal(append(want, make([]byte, len(got)-len(want))...), got))
}

func TestHolesAreNotRead(t *testing.T) {
	for name, size := range map[string]int{"a hole at the end": 40*imageCluster + 5, "and no whole cluster": 37*imageCluster + 100, "data at the end": 36 * imageCluster} {
		t.Run(name, func(t *testing.T) {
			p := make([]byte, size)
			data := make(map[uint64]bool)
			for _, i := range []int{0, 3, 4, 20, 35} {
				_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(p[i*imageCluster : (i+1)*imageCluster])
				data[uint64(i)] = true
			}
			for _, none := range []bool{false, true} {
				host := imageHost(memory.Fork)
				request := importOf(host, p)
				content := holes{&counting{request.Content, make(map[int64]int)}, uint64(size), data}
				request.Content, request.NoChecksum = content, none
				request.ReservePercent = 92 // 59 of 64 clusters: what is no hole has just enough room
				report, err := app.New(nil).ImportImage(t.Context(), request)
				require.NoError(t, err)
				require.EqualValues(t, 5*imageCluster, report.WrittenBytes)
				for at, often := range content.read {
					require.True(t, data[uint64(at)/imageCluster], "at %d", at)
					require.Equal(t, 1, often)
				}
				requireContent(t, host, report, bytes.Clone(p))
				sum := sumOf(p)
				if none {
					sum = ""
				}
				require.Equal(t, sum, report.SHA512)
				require.Equal(t, domain.ImageRecord{UUID: report.UUID, Checksum: sum}, report.Lvol.Image)
			}
		})
	}
}

// parts is a content of which every other part is zero, and said to be.
type parts struct {
	io.ReaderAt
	ends []uint64
}

func (c parts) Extent(offset uint64) (uint64, bool, error) {
	i, _ := slices.BinarySearch(c.ends, offset+1)
	return c.ends[i] - offset, i%2 == 1, nil
}

func TestExtentsOfAnyLengthAreImported(t *testing.T) {
	for seed := range byte(100) {
		random := rand.New(rand.NewChaCha8([32]byte{seed}))
		var p []byte
		var c parts
		for len(p) < 20*imageCluster {
			part := make([]byte, 1+random.IntN(imageCluster<<random.IntN(3)))
			if len(c.ends)%2 == 0 {
				for i := range part {
					part[i] = byte(1 + random.IntN(255))
				}
			}
			p = append(p, part...)
			c.ends = append(c.ends, uint64(len(p)))
		}
		var clusters uint64
		for at := 0; at < len(p); at += imageCluster {
			if strings.Trim(string(p[at:min(at+imageCluster, len(p))]), "\x00") != "" {
				clusters++
			}
		}
		host := imageHost(memory.Fork)
		request := importOf(host, p)
		c.ReaderAt = request.Content
		request.Content = c
		report, err := app.New(nil).ImportImage(t.Context(), request)
		require.NoError(t, err, "seed %d", seed)
		require.EqualValues(t, clusters*imageCluster, report.WrittenBytes, "seed %d", seed)
		require.Equal(t, sumOf(p), report.SHA512, "seed %d", seed)
		requireContent(t, host, report, p)
	}
}

const (
	hugeSize = 415 << 30
	hugeData = 211<<30 + 3*imageCluster
)

// huge is 415 GiB of zeros but for a cluster.
type huge struct {
	*counting
	asked *int
}

func (h huge) Extent(offset uint64) (uint64, bool, error) {
	*h.asked++
	switch {
	case offset < hugeData:
		return min(1<<30, hugeData-offset), true, nil
	case offset < hugeData+imageCluster:
		return hugeData + imageCluster - offset, false, nil
	}
	return min(1<<30, hugeSize-offset), true, nil
}

// Without a checksum one cluster
// of 415 GiB is read, once.
func TestField_qcow2reader_38_SparseImageIsNotScanned(t *testing.T) {
	host := imageHost(memory.Fork)
	content := huge{&counting{io.NewSectionReader(ones{}, 0, hugeSize), make(map[int64]int)}, new(int)}
	report, err := app.New(nil).ImportImage(t.Context(), app.ImageRequest{Host: host, Name: "base", Content: content, Size: hugeSize, NoChecksum: true})
	require.NoError(t, err)
	require.EqualValues(t, imageCluster, report.WrittenBytes)
	require.EqualValues(t, hugeSize, report.Lvol.Size)
	require.Equal(t, map[int64]int{hugeData: 1}, content.read)
	require.Less(t, *content.asked, 2000)
}

// ones is a content that is all ones.
type ones struct{}

func (ones) ReadAt(p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

func TestInvalidExtentIsRefused(t *testing.T) {
	for _, length := range []uint64{0, 1 << 40} {
		host := imageHost(memory.Fork)
		request := importOf(host, disk())
		request.Content = oddExtents{request.Content, length}
		_, err := app.New(nil).ImportImage(t.Context(), request)
		require.ErrorContains(t, err, "read the image: the content reports an extent of")
		require.Empty(t, namesOn(t, host))
	}
}

type oddExtents struct {
	io.ReaderAt
	length uint64
}

func (o oddExtents) Extent(uint64) (uint64, bool, error) { return o.length, true, nil }
