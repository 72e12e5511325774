package imagefile

import (
	"bytes"
	"encoding/binary"
)

// headBytes are enough to recognize any of the disks below.
const headBytes = 1 << 20

// disk describes a recognized disk.
type disk struct {
	is   string // "": nothing
	ends uint64 // size in bytes by its own structures; 0: unknown
}

// Magic numbers of disks without partitions, and their offsets.
var disks = []struct {
	at        int
	magic, is string
}{
	{32 << 10, "\x01CD001", "ISO 9660 file system"},
	{1080, "\x53\xef", "ext file system"},
	{0, "XFSB", "XFS file system"},
	{64<<10 + 64, "_BHRfS_M", "btrfs file system"},
	{1024, "\x10\x20\xf5\xf2", "F2FS file system"},
	{1024, "\xe2\xe1\xf5\xe0", "EROFS file system"},
	{1024, "H+\x00\x04", "HFS+ file system"},
	{1024, "HX\x00\x05", "HFS+ file system"},
	{1030, "\x34\x34", "NILFS2 file system"},
	{32, "NXSB", "APFS container"},
	{0, "hsqs", "squashfs file system"},
	{0, "\x45\x3d\xcd\x28", "cramfs file system"},
	{0, "-rom1fs-", "romfs file system"},
	{32 << 10, "JFS1", "JFS file system"},
	{64<<10 + 52, "ReIsEr", "ReiserFS file system"},
	{8192 + 1372, "\x54\x19\x01\x00", "UFS file system"},
	{64<<10 + 1372, "\x19\x01\x54\x19", "UFS2 file system"},
	{64 << 10, "\x01\x16\x19\x70", "GFS2 file system"},
	{2048, "OCFSV2", "OCFS2 file system"},
	{4096, "OCFSV2", "OCFS2 file system"},
	{4120, "\xc6\x85\x73\xf6", "bcachefs or bcache"},
	{3, "ReFS\x00\x00\x00\x00", "ReFS file system"},
	{32<<10 + 1, "BEA01", "UDF file system"},
	{0, "LUKS\xba\xbe", "LUKS container"},
	{3, "-FVE-FS-", "BitLocker volume"},
	{0, "LABELONE", "LVM physical volume"},
	{512, "LABELONE", "LVM physical volume"},
	{1024, "LABELONE", "LVM physical volume"},
	{1536, "LABELONE", "LVM physical volume"},
	{4086, "SWAPSPACE2", "swap space"},
	{0, "\xfc\x4e\x2b\xa9", "RAID member"},
	{4096, "\xfc\x4e\x2b\xa9", "RAID member"},
	{128 << 10, "\x0c\xb1\xba\x00\x00\x00\x00\x00", "ZFS pool member"},
	{128 << 10, "\x00\x00\x00\x00\x00\xba\xb1\x0c", "ZFS pool member"},
	{508, "\xda\xbe", "Sun disk label"},
	{512, "\x57\x45\x56\x82", "BSD disk label"},
	{0, "\x0b\xe5\xa9\x41", "SGI disk label"},
	{0, "ER\x02\x00", "Apple partition map"},
	{510, "\x55\xaa", "boot sector"},
}

// recognizeDisk recognizes a disk by its beginning.
func recognizeDisk(head []byte) disk {
	for _, sector := range []int{512, 4096} {
		if d, ok := gpt(head, sector); ok && !has(head, 32<<10, "\x01CD001") { // that of a hybrid ISO image is often of another length
			return d
		}
	}
	for _, known := range disks {
		if has(head, known.at, known.magic) {
			return disk{known.is, endOf(head, known.is)}
		}
	}
	return disk{}
}

func has(head []byte, at int, magic string) bool {
	return len(head) >= at && bytes.HasPrefix(head[at:], []byte(magic))
}

// gpt recognizes a GPT. Its backup is in the disk's last sector.
func gpt(head []byte, sector int) (disk, bool) {
	if len(head) < sector+40 || !has(head, sector, "EFI PART") {
		return disk{}, false
	}
	last := binary.LittleEndian.Uint64(head[sector+32:])
	if last >= 1<<50 {
		return disk{is: "GPT"}, true // damaged
	}
	return disk{"GPT", (last + 1) * uint64(sector)}, true
}

// endOf is the size of a disk by its own structures; 0: unknown.
func endOf(head []byte, is string) uint64 {
	le, be := binary.LittleEndian, binary.BigEndian
	switch is {
	case "ISO 9660 file system":
		const at = 32 << 10
		if len(head) < at+132 {
			return 0
		}
		return uint64(le.Uint32(head[at+80:])) * uint64(le.Uint16(head[at+128:]))
	case "ext file system":
		const at, of64Bits = 1024, 0x80
		if len(head) < at+340 || le.Uint32(head[at+24:]) > 6 || le.Uint32(head[at+76:]) > 1 { // block size, revision
			return 0
		}
		blocks := uint64(le.Uint32(head[at+4:]))
		if le.Uint32(head[at+96:])&of64Bits != 0 {
			blocks |= uint64(le.Uint32(head[at+336:])) << 32
		}
		return blocks << (10 + le.Uint32(head[at+24:]))
	case "XFS file system":
		blocks, size := be.Uint64(head[8:]), be.Uint32(head[4:])
		if blocks >= 1<<48 {
			return 0
		}
		return blocks * uint64(size)
	case "boot sector":
		return mbr(head)
	}
	return 0
}

// mbr returns the end of the last partition, or 0 if there are none: a boot sector of FAT
// or NTFS has other fields there.
func mbr(head []byte) (ends uint64) {
	const at, entry, protective = 446, 16, 0xee
	if sector := binary.LittleEndian.Uint16(head[11:]); (head[0] == 0xeb || head[0] == 0xe9) && sector >= 512 && sector&(sector-1) == 0 {
		return 0
	}
	for i := range 4 {
		p := head[at+i*entry:]
		if p[0]&0x7f != 0 {
			return 0
		}
		if kind := p[4]; kind != 0 && kind != protective {
			first, sectors := binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint32(p[12:])
			ends = max(ends, (uint64(first)+uint64(sectors))*512)
		}
	}
	return ends
}
