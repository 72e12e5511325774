package spdk

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/rpc"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A target offers no locks. But all its users reach its socket, so they are on one
// machine, whose operating system has file locks that end with their process. They are
// on a file beside the socket.
//
// A name is locked by one byte far beyond the end of the file, chosen by the name's
// hash. Such a lock does not tell who holds it, so the file is a table of holders: each
// locks a row as well, and writes the hash and a text into it. The row of a process that
// has ended is not locked any more, and the next holder takes it.
const (
	claimsSuffix = ".claims"
	claimRow     = 256  // bytes
	claimRows    = 4096 // at most; a holder that finds none free is not named
)

// Claim implements ports.Claimer.
func (h *Host) Claim(ctx context.Context, name string) (release func(), err error) {
	return h.Lease(ctx, name, ports.Lease{})
}

// Lease implements ports.Leaser. ErrUnsupported: there cannot be a file beside the
// socket.
func (h *Host) Lease(_ context.Context, name string, lease ports.Lease) (release func(), err error) {
	defer h.store.Explain(&err, "claim %s", name)
	socket, err := filepath.EvalSymlinks(h.store.Client.Path())
	if err != nil {
		return nil, rpc.WithKind(ports.ErrUnavailable, err)
	}
	// Every user of the target may take a lease.
	file, err := os.OpenFile(socket+claimsSuffix, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, rpc.WithKind(ports.ErrUnsupported, err)
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(name)) // never fails
	at := int64(sum.Sum64() >> 1)
	if err := lockBytes(file, at, 1, lease.Shared); err != nil {
		if holders := claimHolders(file, at); errors.Is(err, ports.ErrBusy) && len(holders) > 0 {
			err = &ports.HeldError{Holders: holders}
		}
		_ = file.Close()
		return nil, fmt.Errorf("%s%s: %w", socket, claimsSuffix, err)
	}
	if lease.Holder != "" {
		writeClaim(file, at, lease.Holder)
	}
	return func() { _ = file.Close() }, nil // which ends the locks
}

func claimKey(at int64) string { return fmt.Sprintf("%016x ", at) }

// writeClaim writes the holder into a free row. If it cannot, the lock holds all the same.
func writeClaim(file *os.File, at int64, holder string) {
	row := claimKey(at) + strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		return r
	}, holder)
	for len(row) >= claimRow {
		_, last := utf8.DecodeLastRuneInString(row)
		row = row[:len(row)-last]
	}
	row += strings.Repeat(" ", claimRow-1-len(row)) + "\n"
	for i := range int64(claimRows) {
		if lockBytes(file, i*claimRow, claimRow, false) == nil {
			_, _ = file.WriteAt([]byte(row), i*claimRow)
			return
		}
	}
}

// claimHolders are those of the name's holders that have a row.
func claimHolders(file *os.File, at int64) (holders []string) {
	row := make([]byte, claimRow)
	for i := range int64(claimRows) {
		if _, err := file.ReadAt(row, i*claimRow); err != nil {
			break
		}
		holder, is := strings.CutPrefix(string(row), claimKey(at))
		if is && isLocked(file, i*claimRow, claimRow) {
			holders = append(holders, strings.TrimSpace(holder))
		}
	}
	return holders
}

// Identity implements ports.Identifier.
func (h *Host) Identity() (uuid, name string) { return h.store.UUID, h.store.Name }
