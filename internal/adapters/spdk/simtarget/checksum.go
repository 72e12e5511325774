package simtarget

import (
	"hash/crc64"
	"syscall"
)

var crcTable = crc64.MakeTable(crc64.ISO)

// registerChecksum stores the CRC-64 of the own clusters, one after the other,
// without their positions (bs_snapshot_checksum_blob_read_cpl).
func registerChecksum(t *Target, r *request, p *named) {
	l := t.findLvol(r, p.Name)
	if l == nil {
		return
	}
	if !l.awake {
		r.errnoAs(codeInternalError, syscall.EPERM)
		return
	}
	release, errno := l.hold()
	if errno != 0 {
		r.errnoAs(codeInternalError, errno)
		return
	}
	t.later(func() {
		release()
		var sum uint64
		content := make([]byte, l.store.clusterSize)
		for _, i := range l.owned() {
			if _, err := l.ReadAt(content, int64(i*l.store.clusterSize)); err != nil {
				r.errnoAs(codeInternalError, syscall.EIO)
				return
			}
			sum = crc64.Update(sum, crcTable, content)
		}
		l.checksum = &sum
		l.keep()
		r.result(true)
	})
}

func getChecksum(t *Target, r *request, p *named) {
	l := t.findLvol(r, p.Name)
	if l == nil {
		return
	}
	if l.checksum == nil {
		r.errno(syscall.ENODEV)
		return
	}
	r.result(map[string]uint64{"checksum": *l.checksum})
}
