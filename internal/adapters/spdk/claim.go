package spdk

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"github.com/rootgraft/rebuild/internal/ports"
)

// A target has no lock to offer. But whoever speaks with it can reach its
// socket, so all are on one machine, and its operating system has locks that
// end with their process. claimsSuffix is what the file beside the socket is
// called that they are on; it stays empty.
const claimsSuffix = ".claims"

// Claim implements ports.Claimer: a lock on one byte of a file beside the
// socket, the byte chosen by the name. ErrUnsupported where there cannot be
// such a file.
func (h *Host) Claim(_ context.Context, name string) (release func(), err error) {
	release, err = h.claim(name)
	return release, h.failed(err, "claim %s", name)
}

func (h *Host) claim(name string) (release func(), err error) {
	socket, err := filepath.EvalSymlinks(h.rpc.path)
	if err != nil {
		return nil, as(ports.ErrUnavailable, err)
	}
	// Every user of the target may claim.
	file, err := os.OpenFile(socket+claimsSuffix, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, as(ports.ErrUnsupported, err)
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(name)) // never fails
	if err := lockByte(file, int64(sum.Sum64()>>1)); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s%s: %w", socket, claimsSuffix, err)
	}
	return func() { _ = file.Close() }, nil // which ends the lock
}
