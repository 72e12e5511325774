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

// A target has no lock to offer. But whoever speaks with it can reach its
// socket, so all are on one machine, and its operating system has locks that
// end with their process. claimsSuffix is what the file beside the socket is
// called that they are on.
//
// A name is locked by one byte far beyond the end of the file, which is chosen
// by the name's hash. Such a lock does not tell who has it, so the file itself is
// a table of who does: each holder locks a row besides and writes hash and words
// into it. The row of a process that has ended is not locked any more, and the
// next holder takes it.
const (
	claimsSuffix = ".claims"
	claimRow     = 256  // bytes
	claimRows    = 4096 // at most; who finds none free stays nameless
)

// Claim implements ports.Claimer.
func (h *Host) Claim(ctx context.Context, name string) (release func(), err error) {
	return h.Lease(ctx, name, ports.Lease{})
}

// Lease implements ports.Leaser: a lock on one byte of a file beside the socket.
// ErrUnsupported where there cannot be such a file.
func (h *Host) Lease(_ context.Context, name string, lease ports.Lease) (release func(), err error) {
	defer h.store.Explain(&err, "claim %s", name)
	socket, err := filepath.EvalSymlinks(h.store.Client.Path())
	if err != nil {
		return nil, rpc.WithKind(ports.ErrUnavailable, err)
	}
	// Every user of the target may claim.
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

// writeClaim says in a free row who has the name. Where it cannot, the lock
// holds all the same.
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

// claimHolders are those who have the name now, as far as they have said so.
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
