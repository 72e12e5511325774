package imagefile_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/imagefile"
)

var le = binary.LittleEndian

func tarOf(t *testing.T, name string, format tar.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Size: 3, Mode: 0o644, Format: format}))
	_, err := w.Write([]byte("abc"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// oldTar is a tar archive without a magic number.
func oldTar(t *testing.T) []byte {
	t.Helper()
	p := tarOf(t, "disk.img", tar.FormatUSTAR)
	clear(p[257:512])
	copy(p[148:], "        ")
	sum := 0
	for _, b := range p[:512] {
		sum += int(b)
	}
	digits := []byte("000000\x00 ")
	for i := 5; i >= 0; i-- {
		digits[i], sum = byte('0'+sum%8), sum/8
	}
	copy(p[148:], digits)
	return p
}

// withPartitions is a disk with an MBR and one partition up to its end.
func withPartitions(size int) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{11}).Read(p[:440])
	p[0] = 0x33
	p[446], p[450] = 0x80, 0x83
	le.PutUint32(p[454:], 8)
	le.PutUint32(p[458:], uint32(size/512-8))
	copy(p[510:], "\x55\xaa")
	return p
}

func withGPT(size int) []byte {
	p := withPartitions(size)
	p[450] = 0xee
	le.PutUint32(p[458:], 1<<32-1)
	copy(p[512:], "EFI PART")
	le.PutUint64(p[512+32:], uint64(size/512-1))
	return p
}

func withISO(size int) []byte {
	p := withGPT(size)
	le.PutUint64(p[512+32:], uint64(size)) // as in hybrid ones
	copy(p[32<<10:], "\x01CD001")
	le.PutUint32(p[32<<10+80:], uint32(size/2048))
	le.PutUint16(p[32<<10+128:], 2048)
	return p
}

func withExt(size int) []byte {
	p := make([]byte, size)
	le.PutUint32(p[1024+4:], uint32(size/4096))
	le.PutUint32(p[1024+24:], 2)
	le.PutUint32(p[1024+76:], 1)
	copy(p[1080:], "\x53\xef")
	return p
}

func withXFS(size int) []byte {
	p := make([]byte, size)
	copy(p, "XFSB")
	be.PutUint32(p[4:], 4096)
	be.PutUint64(p[8:], uint64(size/4096))
	return p
}

// A file that is no disk is not imported as one (harvester 1425, too).
func TestField_CDI_1287_ErrorNamesOtherFormat(t *testing.T) {
	disk := withPartitions(1 << 20)
	lzma := slices.Concat([]byte{0x5d, 0, 0, 0x80, 0}, bytes.Repeat([]byte{0xff}, 8), []byte("packed"))
	for name, c := range map[string]struct {
		p    []byte
		says string
	}{
		"tar":              {tarOf(t, "disk.img", tar.FormatUSTAR), "is a tar archive: unpack it first"},
		"GNU tar":          {tarOf(t, "disk.img", tar.FormatGNU), "is a tar archive"},
		"PAX tar":          {tarOf(t, "dïsk.img", tar.FormatPAX), "is a tar archive"},
		"old tar":          {oldTar(t), "is a tar archive"},
		"OVA":              {tarOf(t, "Appliance.OVF", tar.FormatUSTAR), "is an OVA archive"},
		"7z":               {[]byte("7z\xbc\xaf\x27\x1c\x00\x04"), "is a 7z archive"},
		"RAR":              {[]byte("Rar!\x1a\x07\x01\x00"), "is a RAR archive"},
		"lz4":              {[]byte("\x04\x22\x4d\x18\x64"), "is compressed by lz4"},
		"old lz4":          {[]byte("\x02\x21\x4c\x18\x64"), "is compressed by lz4"},
		"lzma":             {lzma, "is compressed by lzma"},
		"lzip":             {[]byte("LZIP\x01\x0c"), "is compressed by lzip"},
		"lzop":             {[]byte("\x89LZO\x00\r\n\x1a\n"), "is compressed by lzop"},
		"bzip2":            {[]byte("BZh91AY"), "is compressed by bzip2"},
		"Android sparse":   {[]byte("\x3a\xff\x26\xed\x01\x00"), "is an Android sparse image"},
		"fixed VHD":        {slices.Concat(disk, []byte("conectix"), make([]byte, 504)), "is a fixed VHD image"},
		"old fixed VHD":    {slices.Concat(disk, []byte("conectix"), make([]byte, 503)), "is a fixed VHD image"},
		"dynamic VHD":      {slices.Concat([]byte("conectix"), disk), "is a VHD image"},
		"DMG":              {slices.Concat(disk, []byte("koly"), make([]byte, 508)), "is a DMG image"},
		"HTML":             {[]byte("\xef\xbb\xbf\r\n <!DOCTYPE html>\n<html>404</html>"), "is a web page (HTML)"},
		"HTML without":     {[]byte("<HTML><body>"), "is a web page (HTML)"},
		"XML":              {[]byte("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "is an XML document"},
		"git-LFS":          {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), "is a git-LFS pointer"},
		"RPM":              {[]byte("\xed\xab\xee\xdb\x03"), "is an RPM package"},
		"PDF":              {[]byte("%PDF-1.7"), "is a PDF document"},
		"cut MBR":          {disk[:1<<20-1000], "is truncated by 1000 bytes: its boot sector reaches to byte 1048576, the image ends after 1047576"},
		"cut GPT":          {withGPT(1 << 20)[:1<<20-512], "is truncated by 512 bytes: its GPT reaches to byte 1048576"},
		"cut ISO":          {withISO(1 << 20)[:1<<19], "is truncated by 524288 bytes: its ISO 9660 file system"},
		"cut ext":          {withExt(1 << 20)[:1<<19], "is truncated by 524288 bytes: its ext file system"},
		"cut XFS":          {withXFS(1 << 20)[:1<<19], "is truncated by 524288 bytes: its XFS file system"},
		"a page, as qcow2": {[]byte("QFI\xfa"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.p)
			f, err := open(path)
			if c.says == "" {
				require.NoError(t, err)
				require.NoError(t, f.Close())
				return
			}
			require.ErrorContains(t, err, path+" "+c.says)
			doubt := (*imagefile.DoubtError)(nil)
			require.ErrorAs(t, err, &doubt)
			f, err = imagefile.Open(t.Context(), path, imagefile.Raw)
			require.NoError(t, err, "who says that it is raw knows better")
			defer f.Close()
			require.Empty(t, f.Warnings)
			got := make([]byte, len(c.p))
			_, err = f.ReadAt(got, 0)
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.p, got))
		})
	}
}

func TestDisksAreRecognized(t *testing.T) {
	fat := withPartitions(1 << 20) // a boot sector with text instead of partitions
	fat[0] = 0xeb
	le.PutUint16(fat[11:], 512)
	swap := make([]byte, 8192)
	copy(swap[4086:], "SWAPSPACE2")
	big := make([]byte, 2<<20) // sectors of 4 KiB
	copy(big[4096:], "EFI PART")
	le.PutUint64(big[4096+32:], 511)
	for name, p := range map[string][]byte{
		"MBR": withPartitions(1 << 20), "GPT": withGPT(1 << 20), "GPT, 4 KiB": big, "ISO": withISO(1 << 20), "ext": withExt(1 << 20), "XFS": withXFS(1 << 20),
		"FAT, cut": fat[:1<<19], "swap": swap, "LUKS": append([]byte("LUKS\xba\xbe"), make([]byte, 4096)...), "squashfs": append([]byte("hsqs"), make([]byte, 4096)...),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open(write(t, p))
			require.NoError(t, err)
			defer f.Close()
			require.Empty(t, f.Warnings)
		})
	}
}

func TestUnknownContentIsWarnedOf(t *testing.T) {
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{12}).Read(noise)
	for name, p := range map[string][]byte{
		"noise": noise, "text": []byte("Not Found\n"), "zeros": make([]byte, 1<<20), "one byte": {0}, "qcow2": qcow2(t, 3),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := open(write(t, p))
			require.NoError(t, err)
			defer f.Close()
			require.Len(t, f.Warnings, 1)
			require.Contains(t, f.Warnings[0], "does not look like a disk")
		})
	}
	// A disk that was shrunk is not a truncated file.
	shrunk := withGPT(1 << 20)[:1<<19]
	image := maker{version: 3, bits: 16}.image(t, shrunk, func(i int) kind {
		if i == 0 {
			return asItIs
		}
		return notThere
	})
	f, err := open(write(t, image))
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, []string{"its GPT reaches to byte 1048576, the image ends after 524288"}, f.Warnings)
}

func TestGivenFormatIsUsed(t *testing.T) {
	path := write(t, qcow2(t, 3))
	f, err := imagefile.Open(t.Context(), path, imagefile.Raw)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, imagefile.Raw, f.Format)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, info.Size(), f.Size)
	_, err = imagefile.Open(context.Background(), write(t, withPartitions(4096)), imagefile.Qcow2)
	require.ErrorContains(t, err, "is not a qcow2 image")
}
