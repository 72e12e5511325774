//go:build !linux

package spdk

import (
	"errors"
	"os"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

func lockBytes(*os.File, int64, int64, bool) error {
	return rpc.WithKind(ports.ErrUnsupported, errors.New("locks of open files are Linux' own"))
}

func isLocked(*os.File, int64, int64) bool { return false }
