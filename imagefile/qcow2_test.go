package imagefile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/imagefile"
)

// guest is a disk of a little more than that many clusters, and how each is stored.
// Compressed ones are half noise, so that decompressing takes many reads.
func guest(m maker, seed byte, clusters int) (p []byte, kinds []kind) {
	size := 1 << m.bits
	random := rand.New(rand.NewChaCha8([32]byte{seed}))
	noise := rand.NewChaCha8([32]byte{seed, 1})
	for range clusters {
		k := kind(random.IntN(5))
		if k == zeroFlag && m.version < 3 {
			k = notThere
		}
		if k == inParts && !m.extended {
			k = packed
		}
		data := make([]byte, size)
		switch k {
		case asItIs:
			_, _ = noise.Read(data)
		case packed:
			_, _ = noise.Read(data[:size/2])
		case inParts:
			for j := 0; j < 32; j += 3 {
				_, _ = noise.Read(data[j*size/32 : (j+1)*size/32])
			}
		}
		p, kinds = append(p, data...), append(kinds, k)
	}
	return p[:len(p)-512*random.IntN(size/512)], kinds
}

// readsAs reads the image in parts of any length, and checks its extents.
func readsAs(t *testing.T, f *imagefile.File, want []byte) {
	t.Helper()
	require.EqualValues(t, len(want), f.Size)
	random := rand.New(rand.NewChaCha8([32]byte{9}))
	for at := 0; at < len(want); {
		part := make([]byte, min(1+random.IntN(len(want)/3+1), len(want)-at))
		n, err := f.ReadAt(part, int64(at))
		require.NoError(t, err)
		require.Equal(t, len(part), n)
		require.True(t, bytes.Equal(want[at:at+n], part), "%d bytes at %d", n, at)
		at += n
	}
	_, err := f.ReadAt(make([]byte, 1), int64(len(want)))
	require.ErrorIs(t, err, io.EOF)
	for at := uint64(0); at < f.Size; {
		length, zero, err := f.Extent(at)
		require.NoError(t, err)
		require.NotZero(t, length)
		require.LessOrEqual(t, length, f.Size-at)
		if zero {
			require.Equal(t, make([]byte, length), want[at:at+length], "%d bytes at %d", length, at)
		}
		at += length
	}
}

// One read from a decompressor may return less than a cluster; clusters of 16 KiB and
// less could not be read because of that.
func TestField_qcow2reader_40_ClustersOfAnySize(t *testing.T) {
	for bits := uint32(9); bits <= 21; bits++ {
		for name, m := range map[string]maker{
			"version 2": {version: 2, bits: bits}, "zlib": {version: 3, bits: bits}, "zstd": {version: 3, bits: bits, zstd: true},
			"parts, zlib": {version: 3, bits: bits, extended: true}, "parts, zstd": {version: 3, bits: bits, extended: true, zstd: true},
		} {
			if m.extended && bits < 14 { // a subcluster would be less than a sector
				continue
			}
			t.Run(fmt.Sprintf("%d bytes, %s", 1<<bits, name), func(t *testing.T) {
				p, kinds := guest(m, byte(bits), max(4, min(300, 4<<20>>bits)))
				f, err := open(write(t, m.image(t, p, func(i int) kind { return kinds[i] })))
				require.NoError(t, err)
				defer f.Close()
				readsAs(t, f, p)
			})
		}
	}
}

// Decompression takes the time: each cluster is decompressed once, however many reads it
// takes.
func TestField_qcow2reader_32_LargeClustersTakeLinearTime(t *testing.T) {
	p := make([]byte, 2<<21)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(p[:3<<20])
	f, err := open(write(t, maker{version: 3, bits: 21}.image(t, p, func(int) kind { return packed })))
	require.NoError(t, err)
	defer f.Close()
	unpacked := f.CountUnpacked()
	part := make([]byte, 4096)
	for at := 0; at < len(p); at += len(part) {
		_, err := f.ReadAt(part, int64(at))
		require.NoError(t, err)
		require.True(t, bytes.Equal(p[at:at+len(part)], part))
	}
	require.LessOrEqual(t, *unpacked, 2) // the first one perhaps by Open
}

// sparse is an image of 415 GiB with one cluster in it, in a file of 256 KiB.
func sparse(t *testing.T) (image, data []byte, at uint64) {
	t.Helper()
	const size, table = 415 << 30, 400 // of 830 second tables
	image = maker{version: 3, bits: 16}.image(t, make([]byte, 1), func(int) kind { return notThere })
	image = append(image, make([]byte, cluster)...)
	be.PutUint64(image[24:], size)
	be.PutUint32(image[36:], 830)
	clear(image[cluster : 2*cluster])
	be.PutUint64(image[cluster+8*table:], 2*cluster|1<<63)
	be.PutUint64(image[2*cluster+8*5:], 3*cluster|1<<63)
	data = image[3*cluster:]
	_, _ = rand.NewChaCha8([32]byte{4}).Read(data)
	return image, data, table<<29 + 5<<16
}

// A few extents cover what is not in the image, and none of it is read.
func TestField_qcow2reader_38_HolesAreSkipped(t *testing.T) {
	image, data, begins := sparse(t)
	f, err := open(write(t, image))
	require.NoError(t, err)
	defer f.Close()
	var dataAt []uint64
	asked := 0
	for at := uint64(0); at < f.Size; asked++ {
		length, zero, err := f.Extent(at)
		require.NoError(t, err)
		if !zero {
			dataAt = append(dataAt, at, length)
		}
		at += length
	}
	require.Equal(t, []uint64{begins, cluster}, dataAt)
	require.Less(t, asked, 1000)
	got := make([]byte, len(data)+2)
	_, err = f.ReadAt(got, int64(begins-1))
	require.NoError(t, err)
	require.Equal(t, data, got[1:len(got)-1])
}

func TestHolesOfRawFileAreSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("x"), 1<<40)
	require.NoError(t, err)
	require.NoError(t, file.Truncate(2<<40))
	require.NoError(t, file.Close())
	f, err := imagefile.Open(t.Context(), path, imagefile.Raw)
	require.NoError(t, err)
	defer f.Close()
	asked, err := os.Open(path)
	require.NoError(t, err)
	defer asked.Close()
	if data, err := asked.Seek(0, 3); err != nil || data == 0 { // SEEK_DATA of Linux
		t.Skipf("the file system of %s tells no holes: %v", path, err)
	}
	length, zero, err := f.Extent(0)
	require.NoError(t, err)
	require.True(t, zero)
	require.LessOrEqual(t, length, uint64(1<<40))
	require.Greater(t, length, uint64(1<<39))
	from := length
	length, zero, err = f.Extent(from)
	require.NoError(t, err)
	require.False(t, zero)
	require.Less(t, from+length, uint64(1<<40+1<<30))
	from += length
	length, zero, err = f.Extent(from)
	require.NoError(t, err)
	require.True(t, zero)
	require.EqualValues(t, 2<<40, from+length)
	require.NoError(t, f.Unchanged())
	require.NoError(t, os.Truncate(path, 1<<40))
	_, _, err = f.Extent(from)
	require.ErrorContains(t, err, "ends after 1099511627776 of 2199023255552 bytes")
	require.Error(t, f.Unchanged())
}

// At each length the file either reads as the whole one, or is refused with the number of
// missing bytes.
func TestField_ocaml_qcow_7_TruncatedFilesAreRefused(t *testing.T) {
	for name, m := range map[string]maker{
		"zlib": {version: 3, bits: 12}, "zstd": {version: 3, bits: 12, zstd: true}, "parts": {version: 3, bits: 14, extended: true}, "version 2": {version: 2, bits: 9},
	} {
		t.Run(name, func(t *testing.T) {
			p, kinds := guest(m, 6, 40)
			kinds[39] = packed
			last := p[39<<m.bits:]
			_, _ = rand.NewChaCha8([32]byte{8}).Read(last[:len(last)/2])
			image := m.image(t, p, func(i int) kind { return kinds[i] })
			path := write(t, image)
			for length := len(image); length >= 4; length -= min(1+length/97, 1+(len(image)-length)/3) { // mostly near the end
				require.NoError(t, os.Truncate(path, int64(length)))
				f, err := open(path)
				if err == nil { // the last bytes of a compressed cluster are only its end mark
					require.Less(t, len(image)-length, 8)
					readsAs(t, f, p)
					require.NoError(t, f.Close())
					continue
				}
				require.NotEqual(t, len(image), length)
				require.ErrorContains(t, err, "truncated")
				if length > len(image)-len(image)/4 { // no table is missing
					require.Regexp(t, fmt.Sprintf("the file ends after %d bytes, (at least )?%d are missing", length, (len(image)+511)/512*512-length), err)
				}
			}
		})
	}
}

// Nobody reads beyond the end of the disk, so programs do not write it.
func TestEndOfLastClusterMayBeMissing(t *testing.T) {
	p := make([]byte, 3*cluster+512)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(p)
	image := maker{version: 3, bits: 16}.image(t, p, func(int) kind { return asItIs })
	f, err := open(write(t, image))
	require.NoError(t, err)
	defer f.Close()
	readsAs(t, f, p)
	_, err = open(write(t, image[:len(image)-1]))
	require.ErrorContains(t, err, fmt.Sprintf("is a truncated qcow2 image: the file ends after %d bytes, at least 1 are missing", len(image)-1))
}

func TestErrorTellsMissingBytesExactly(t *testing.T) {
	p := make([]byte, 4*cluster)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(p)
	image := maker{version: 3, bits: 16}.image(t, p, func(int) kind { return asItIs })
	_, err := open(write(t, image[:len(image)-100_000]))
	require.ErrorContains(t, err, fmt.Sprintf("the file ends after %d bytes, 100000 are missing", len(image)-100_000))
}

func TestDamagedImageIsRefused(t *testing.T) {
	second := 2 * cluster
	for name, c := range map[string]struct {
		version uint32
		damage  func(image []byte)
		says    string
	}{
		"a cluster that is not aligned":  {3, func(p []byte) { be.PutUint64(p[second:], 3*cluster+512) }, "a cluster at 197120, which is not a multiple of 65536"},
		"a table that is not aligned":    {3, func(p []byte) { be.PutUint64(p[cluster:], 2*cluster+512) }, "a table at 131584, which is not a multiple of 65536"},
		"a zero cluster in version 2":    {2, func(p []byte) { be.PutUint64(p[second:], 1) }, "which version 2 does not have"},
		"a packed cluster at 0":          {3, func(p []byte) { be.PutUint64(p[second:], 1<<62) }, "a compressed cluster at the beginning of the file"},
		"too short a table":              {3, func(p []byte) { be.PutUint64(p[24:], 1<<40) }, "a first-level table of 1 entries, expected 2048"},
		"a table far away":               {3, func(p []byte) { be.PutUint64(p[cluster:], 1<<50) }, "truncated"},
		"extended tables, too small for": {3, func(p []byte) { p[79] = 1 << 4; be.PutUint32(p[20:], 13) }, "extended tables with a cluster size of 2^13 bytes"},
		"unknown features":               {3, func(p []byte) { p[78] = 1 }, "unknown features (0x100)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := qcow2(t, c.version)
			c.damage(p)
			_, err := open(write(t, p))
			require.ErrorContains(t, err, c.says)
		})
	}
	marked := qcow2(t, 3)
	marked[79] |= 2
	f, err := open(write(t, marked))
	require.NoError(t, err)
	defer f.Close()
	require.Contains(t, f.Warnings, "it is marked as corrupt: see qemu-img check")
	broken := qcow2(t, 3)
	copy(broken[4*cluster:], bytes.Repeat([]byte{0xff}, 100))
	_, err = open(write(t, broken))
	require.ErrorContains(t, err, "decompress the cluster at offset 262144 of the file")
}

func TestInterruptedOpenEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := imagefile.Open(ctx, write(t, qcow2(t, 3)), "")
	require.ErrorIs(t, err, context.Canceled)
}
