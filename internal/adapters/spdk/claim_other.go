//go:build !linux

package spdk

import (
	"errors"
	"os"

	"github.com/rootgraft/rebuild/internal/ports"
)

func lockByte(*os.File, int64) error {
	return as(ports.ErrUnsupported, errors.New("locks of open files are Linux' own"))
}
