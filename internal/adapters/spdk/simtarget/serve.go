package simtarget

import (
	"encoding/hex"
	"errors"
	"net"

	"github.com/rootgraft/rebuild/internal/adapters/spdk/nvmetcp/wire"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget/nvmeserver"
)

// serve answers NVMe/TCP on a listener until that is closed or the target ends.
func (t *Target) serve(socket net.Listener) {
	t.serving.Go(func() { _ = t.server.Serve(socket) }) // it ends with an error, always
}

// shown are the subsystems that hosts outside of the fabric can connect to.
type shown struct{ target *Target }

// shownSubsystem is one of them, to one host.
type shownSubsystem struct {
	target    *Target
	nqn, host string
}

// Subsystem implements nvmeserver.Subsystems.
func (s shown) Subsystem(nqn, hostNQN string) (nvmeserver.Subsystem, wire.Status) {
	refusal := wire.StatusConnectInvalid
	s.target.world(func() {
		switch one := s.target.subsystems[nqn]; {
		case one == nil || one.discovery:
		case !one.admits(hostNQN):
			refusal = wire.StatusHostNotAllowed
		default:
			refusal = 0
		}
	})
	return shownSubsystem{s.target, nqn, hostNQN}, refusal
}

// Export implements nvmeserver.Subsystem.
func (s shownSubsystem) Export(id uint32) (nvmeserver.Export, bool) {
	n, ok := s.target.Namespace(s.nqn, s.host, id)
	return export{n}, ok
}

// export is a namespace for the NVMe/TCP server.
type export struct{ *Namespace }

// Size is in bytes.
func (e export) Size() uint64 { return e.Namespace.BlockSize * e.Blocks }

// BlockSize is in bytes.
func (e export) BlockSize() uint64 { return e.Namespace.BlockSize }

// NGUID is the namespace's.
func (e export) NGUID() (id [16]byte) {
	_, _ = hex.Decode(id[:], []byte(e.Namespace.NGUID)) // it was checked when it was given
	return id
}

// ReadAt implements io.ReaderAt.
func (e export) ReadAt(p []byte, offset int64) (int, error) {
	return len(p), e.do(func() error { return e.bdev.read(p, uint64(offset)) })
}

// WriteAt implements io.WriterAt.
func (e export) WriteAt(p []byte, offset int64) (int, error) {
	return len(p), e.do(func() error { return e.bdev.write(p, uint64(offset)) })
}

// Deallocate implements nvmeserver.Deallocator.
func (e export) Deallocate(offset, length uint64) error {
	return e.do(func() error { return e.bdev.unmap(offset, length) })
}

// do is refused at once while no listener lets I/O in. Otherwise SPDK tells a host no more than
// that the bdev has failed (spdk_bdev_io_get_nvme_status).
func (e export) do(access func() error) error {
	err := e.target.perform(e.bdev, func() error {
		switch {
		case e.bdev.gone: // since the namespace was looked up
			return &wire.StatusError{Command: "I/O", Status: wire.StatusInvalidNamespace}
		case e.subsystem.inaccessible():
			return &wire.StatusError{Command: "I/O", Status: wire.StatusInaccessible}
		}
		return nil
	}, access)
	var said *wire.StatusError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return &wire.StatusError{Command: err.Error(), Status: wire.StatusInternalError}
}
