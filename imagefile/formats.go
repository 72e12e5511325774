package imagefile

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// Formats that are not supported, by their first bytes.
var formats = []struct{ magic, is string }{
	{"KDMV", "a VMDK image"},
	{"COWD", "a VMDK image"},
	{"# Disk DescriptorFile", "a VMDK descriptor"},
	{"vhdxfile", "a VHDX image"},
	{"conectix", "a VHD image"},
	{"<<< ", "a VDI image"},
	{"WithoutFreeSpace", "a Parallels image"},
	{"WithouFreSpacExt", "a Parallels image"},
	{"QED\x00", "a QED image"},
	{"shdw", "an ASIF image"},
	{"\x3a\xff\x26\xed", "an Android sparse image: unpack it first, as by simg2img"},
	{"EVF\x09\x0d\x0a\xff\x00", "an EnCase image"},
	{"MSWIM\x00\x00\x00", "a WIM archive"},
	{"\x1f\x8b", "compressed by gzip: unpack it first"},
	{"\x1f\x9d", "compressed by compress: unpack it first"},
	{"\xfd7zXZ\x00", "compressed by xz: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"},
	{"BZh", "compressed by bzip2: unpack it first"},
	{"\x04\x22\x4d\x18", "compressed by lz4: unpack it first"},
	{"\x02\x21\x4c\x18", "compressed by lz4: unpack it first"},
	{"\x89LZO\x00\r\n\x1a\n", "compressed by lzop: unpack it first"},
	{"LZIP", "compressed by lzip: unpack it first"},
	{"\xff\x06\x00\x00sNaPpY", "compressed by snappy: unpack it first"},
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{"Rar!\x1a\x07", "a RAR archive: unpack it first"},
	{"MSCF", "a cabinet archive: unpack it first"},
	{"!<arch>\n", "an ar archive: unpack it first"},
	{"\xed\xab\xee\xdb", "an RPM package"},
	{"070701", "a cpio archive: unpack it first"},
	{"070702", "a cpio archive: unpack it first"},
	{"version https://git-lfs.github.com/spec/", "a git-LFS pointer, not the file itself: fetch that, for instance with git lfs pull"},
	{"%PDF-", "a PDF document"},
	{"\x7fELF", "a program (ELF)"},
}

// otherFormat names the format of a file that is no disk, or returns "". head is the
// beginning of the file, tail its last bytes, at most 512.
func otherFormat(head, tail []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.is
		}
	}
	switch {
	case isTar(head) && strings.HasSuffix(strings.ToLower(nameInTar(head)), ".ovf"):
		return "an OVA archive: unpack it first (it is a tar archive), and take the disk in it"
	case isTar(head):
		return "a tar archive: unpack it first"
	case isLZMA(head):
		return "compressed by lzma: unpack it first"
	case bytes.HasPrefix(tail, []byte("conectix")) || len(tail) == 512 && bytes.HasPrefix(tail[1:], []byte("conectix")): // old ones have 511 bytes
		return "a fixed VHD image: convert it first, as by qemu-img convert -f vpc -O raw"
	case bytes.HasPrefix(tail, []byte("koly")):
		return "a DMG image"
	}
	return markup(head)
}

// markup recognizes pages that were downloaded instead of an image.
func markup(head []byte) string {
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"))
	for _, begin := range []string{"<!doctype html", "<html", "<head", "<body", "<title", "<script"} {
		if bytes.HasPrefix(text, []byte(begin)) {
			return "a web page (HTML): the download has failed, or the address is not the image's"
		}
	}
	for _, begin := range []string{"<?xml", "<error>"} {
		if bytes.HasPrefix(text, []byte(begin)) {
			return "an XML document"
		}
	}
	return ""
}

// isTar checks the checksum in the header, which every kind of tar has.
func isTar(head []byte) bool {
	const block, at, digits = 512, 148, 8
	if len(head) < block || head[0] == 0 {
		return false
	}
	said, err := strconv.ParseUint(strings.Trim(string(head[at:at+digits]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := uint64(digits * ' ') // in place of the sum itself
	for i, b := range head[:block] {
		if i < at || i >= at+digits {
			sum += uint64(b)
		}
	}
	return sum == said
}

func nameInTar(head []byte) string {
	name, _, _ := bytes.Cut(head[:100], []byte{0})
	return string(name)
}

// isLZMA recognizes files without a magic number by their usual properties, a dictionary
// size of 2^n or 2^n + 2^(n-1), and the size of the content, which may be unknown.
func isLZMA(head []byte) bool {
	if len(head) < 13 || head[0] != 0x5d {
		return false
	}
	dictionary, size := binary.LittleEndian.Uint32(head[1:]), binary.LittleEndian.Uint64(head[5:])
	if dictionary < 4096 || size != 1<<64-1 && size > 1<<48 {
		return false
	}
	for dictionary&1 == 0 {
		dictionary >>= 1
	}
	return dictionary == 1 || dictionary == 3
}
