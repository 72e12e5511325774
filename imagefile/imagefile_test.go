package imagefile_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/imagefile"
)

const cluster = 64 << 10

// content is three clusters, of data, zeros and compressible data, and a part of a fourth.
func content() []byte {
	p := make([]byte, 3*cluster+5*512)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p[:cluster])
	for i := range cluster {
		p[2*cluster+i] = byte(i / 1000)
	}
	_, _ = rand.NewChaCha8([32]byte{2}).Read(p[3*cluster:])
	return p
}

// qcow2 is content as a qcow2 image: the first and the last cluster are stored as they
// are, the second is not stored, the third is compressed.
func qcow2(t *testing.T, version uint32) []byte {
	t.Helper()
	kinds := []kind{asItIs, notThere, packed, asItIs}
	return maker{version: version, bits: 16}.image(t, content(), func(i int) kind { return kinds[i] })
}

func open(path string) (*imagefile.File, error) {
	return imagefile.Open(context.Background(), path, "")
}

func write(t *testing.T, p []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, os.WriteFile(path, p, 0o600))
	return path
}

func sumOf(p []byte) string {
	sum := sha512.Sum512(p)
	return hex.EncodeToString(sum[:])
}

func reads(t *testing.T, f *imagefile.File, want []byte) {
	t.Helper()
	require.EqualValues(t, len(want), f.Size)
	got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(f.Size)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	part := make([]byte, 1000)
	_, err = f.ReadAt(part, 2*cluster-300)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want[2*cluster-300:2*cluster+700], part))
}

func TestRawImageReadsAsFile(t *testing.T) {
	p := append(content(), 'x') // not a whole sector
	f, err := open(write(t, p))
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, imagefile.Raw, f.Format)
	reads(t, f, p)
	sum, err := f.SHA512(t.Context())
	require.NoError(t, err)
	require.Equal(t, sumOf(p), sum)
}

func TestQcow2ImageReadsAsGuestSeesIt(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		p := qcow2(t, version)
		f, err := open(write(t, p))
		require.NoError(t, err)
		defer f.Close()
		require.Equal(t, imagefile.Qcow2, f.Format)
		reads(t, f, content())
		sum, err := f.SHA512(t.Context())
		require.NoError(t, err)
		require.Equal(t, sumOf(p), sum, "that of the file, not of the content")
	}
}

// It reads what qemu-img writes, if qemu-img is installed.
func TestQemuConvertsTheSame(t *testing.T) {
	qemu, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("no qemu-img on the PATH")
	}
	raw := write(t, content())
	for _, args := range [][]string{
		{},
		{"-c"},
		{"-o", "compat=0.10"},
		{"-o", "cluster_size=4k,extended_l2=off"},
		{"-o", "cluster_size=2M"},
		{"-c", "-o", "cluster_size=512"},
		{"-c", "-o", "cluster_size=16k"},
		{"-c", "-o", "cluster_size=2M"},
		{"-c", "-o", "compression_type=zstd"},
		{"-o", "extended_l2=on"},
		{"-c", "-o", "extended_l2=on,cluster_size=16k"},
		{"-o", "preallocation=metadata"},
	} {
		path := raw + ".qcow2"
		args = append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...), raw, path)
		out, err := exec.Command(qemu, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		f, err := open(path)
		require.NoError(t, err, "%v", args)
		reads(t, f, content())
		require.NoError(t, f.Close())
	}
}

func TestErrorSaysWhyFileIsNoImage(t *testing.T) {
	broken := func(change func(p []byte)) []byte {
		p := qcow2(t, 3)
		change(p)
		return p
	}
	for name, c := range map[string]struct {
		p    []byte
		says string
	}{
		"empty":            {nil, "is empty, expected a disk image, raw or qcow2"},
		"VMDK":             {[]byte("KDMV...."), "is a VMDK image; expected a disk image, raw or qcow2"},
		"VHDX":             {[]byte("vhdxfile...."), "is a VHDX image"},
		"VDI":              {[]byte("<<< Oracle VM VirtualBox Disk Image >>>"), "is a VDI image"},
		"gzip":             {[]byte("\x1f\x8b\x08\x00"), "is compressed by gzip: unpack it first"},
		"xz":               {[]byte("\xfd7zXZ\x00\x00"), "compressed by xz"},
		"zstd":             {[]byte("\x28\xb5\x2f\xfd\x00"), "compressed by zstd"},
		"short qcow2":      {[]byte("QFI\xfb\x00\x00\x00\x03"), "ends within its header"},
		"old qcow2":        {broken(func(p []byte) { be.PutUint32(p[4:], 1) }), "version 1; expected 2 or 3"},
		"backing file":     {broken(func(p []byte) { be.PutUint64(p[8:], 200); be.PutUint32(p[16:], 4); copy(p[200:], "base") }), "with a backing file, which is not supported: flatten it first"},
		"encrypted":        {broken(func(p []byte) { be.PutUint32(p[32:], 2) }), "is an encrypted qcow2 image"},
		"small clusters":   {broken(func(p []byte) { be.PutUint32(p[20:], 3) }), "cluster size of 2^3 bytes"},
		"huge clusters":    {broken(func(p []byte) { be.PutUint32(p[20:], 60) }), "cluster size of 2^60 bytes"},
		"a huge table":     {broken(func(p []byte) { be.PutUint32(p[36:], 0xffffffff) }), "is beyond its end"},
		"a table far away": {broken(func(p []byte) { be.PutUint64(p[40:], 1<<63) }), "is beyond its end"},
		"no disk":          {broken(func(p []byte) { be.PutUint64(p[24:], 0) }), "a disk of 0 bytes"},
		"a huge disk":      {broken(func(p []byte) { be.PutUint64(p[24:], 1<<63) }), "a disk of 9223372036854775808 bytes"},
		"external data":    {broken(func(p []byte) { p[79] = 4 }), "external data file, which is not supported"},
		"odd compression":  {broken(func(p []byte) { p[79] = 8; be.PutUint32(p[100:], 112); p[104] = 2 }), "unknown compression type 2"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.p)
			_, err := open(path)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path+" is ")
		})
	}
	dir := t.TempDir()
	_, err := open(dir)
	require.ErrorContains(t, err, dir+" is a directory")
	_, err = open(dir + "/none")
	require.ErrorIs(t, err, os.ErrNotExist)
	pipe := dir + "/pipe"
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = open(pipe) // and does not wait for a writer
	require.ErrorContains(t, err, "no regular file")
}

func TestInterruptedChecksumEnds(t *testing.T) {
	f, err := open(write(t, content()))
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.SHA512(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// FuzzOpen opens and reads anything that begins like a qcow2 image. Extents that are
// reported as zero read as zeros.
func FuzzOpen(f *testing.F) {
	f.Add(qcow2(&testing.T{}, 3)[4:512])
	f.Add(qcow2(&testing.T{}, 2)[4 : 2*cluster+64])
	for _, m := range []maker{{version: 3, bits: 9}, {version: 3, bits: 9, zstd: true}, {version: 3, bits: 14, extended: true}} {
		p, kinds := guest(m, 1, 4)
		f.Add(m.image(&testing.T{}, p, func(i int) kind { return kinds[i] })[4:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		path := filepath.Join(t.TempDir(), "disk.img")
		require.NoError(t, os.WriteFile(path, append([]byte("QFI\xfb"), rest...), 0o600))
		img, err := open(path)
		if err != nil {
			return
		}
		defer img.Close()
		p := make([]byte, min(img.Size, 1<<20))
		_, err = img.ReadAt(p, 0)
		for at := uint64(0); err == nil && at < uint64(len(p)); {
			length, zero, err := img.Extent(at)
			require.NoError(t, err)
			require.NotZero(t, length)
			end := min(at+length, uint64(len(p)))
			if zero {
				require.Equal(t, make([]byte, end-at), p[at:end])
			}
			at += length
		}
	})
}
