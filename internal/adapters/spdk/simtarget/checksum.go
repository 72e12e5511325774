package simtarget

import (
	"hash/crc64"
	"syscall"
)

var crcTable = crc64.MakeTable(crc64.ISO)

// registerChecksum stores the CRC-64 of the own clusters, one after the other,
// without their positions (bs_snapshot_checksum_blob_read_cpl).
func registerChecksum(t *Target, r *request, p *named) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	if !l.awake {
		return nil, as(codeInternalError, syscall.EPERM)
	}
	release, errno := l.hold()
	if errno != 0 {
		return nil, as(codeInternalError, errno)
	}
	return r.later(func() (any, error) {
		release()
		var sum uint64
		content := make([]byte, l.store.clusterSize)
		for _, i := range l.owned() {
			if _, err := l.ReadAt(content, int64(i*l.store.clusterSize)); err != nil {
				return nil, as(codeInternalError, syscall.EIO)
			}
			sum = crc64.Update(sum, crcTable, content)
		}
		l.checksum = &sum
		l.keep()
		return true, nil
	})
}

func getChecksum(t *Target, r *request, p *named) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	if l.checksum == nil {
		return nil, syscall.ENODEV
	}
	return map[string]uint64{"checksum": *l.checksum}, nil
}
