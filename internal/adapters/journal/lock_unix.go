//go:build unix

package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rootgraft/rebuild/internal/ports"
)

// lock keeps other processes out for as long as the file is open, also after
// a crash of this one no longer.
func lock(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another process has it open: %w", ports.ErrBusy)
	}
	return err
}
