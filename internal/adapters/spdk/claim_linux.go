package spdk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// lockBytes locks some bytes until the file is closed, with others who share
// them or alone. The lock belongs to the open file, not to the process: two
// claims of one process exclude each other, too.
func lockBytes(file *os.File, at, length int64, shared bool) error {
	kind := int16(unix.F_WRLCK)
	if shared {
		kind = unix.F_RDLCK
	}
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: length})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return rpc.WithKind(ports.ErrBusy, errors.New("somebody else has it"))
	default: // a file system without locks
		return rpc.WithKind(ports.ErrUnsupported, err)
	}
}

// isLocked reports whether another open file has locked any of the bytes.
func isLocked(file *os.File, at, length int64) bool {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: length}
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}
