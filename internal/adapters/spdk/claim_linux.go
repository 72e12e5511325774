package spdk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rootgraft/rebuild/internal/ports"
)

// lockByte locks one byte until the file is closed. The lock belongs to the
// open file, not to the process: two claims of one process exclude each other,
// too.
func lockByte(file *os.File, at int64) error {
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return as(ports.ErrBusy, errors.New("somebody else has it"))
	default: // a file system without locks
		return as(ports.ErrUnsupported, err)
	}
}
