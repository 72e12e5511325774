package simtarget

import (
	"errors"
	"syscall"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Codes of JSON-RPC (spdk/jsonrpc.h).
const (
	codeParseError     = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeInternalError  = -32603
)

// texts are the C library's, which SPDK answers with.
var texts = map[syscall.Errno]string{
	syscall.EPERM:        "Operation not permitted",
	syscall.ENOENT:       "No such file or directory",
	syscall.EIO:          "Input/output error",
	syscall.ENOMEM:       "Cannot allocate memory",
	syscall.EBUSY:        "Device or resource busy",
	syscall.EEXIST:       "File exists",
	syscall.ENODEV:       "No such device",
	syscall.EINVAL:       "Invalid argument",
	syscall.ENOSPC:       "No space left on device",
	syscall.ENAMETOOLONG: "File name too long",
	syscall.ETIMEDOUT:    "Connection timed out",
	syscall.EAGAIN:       "Resource temporarily unavailable",
	syscall.EALREADY:     "Operation already in progress",
	syscall.ENOTSUP:      "Operation not supported",
	syscall.EACCES:       "Permission denied",
	syscall.EISDIR:       "Is a directory",
}

func text(errno syscall.Errno) string {
	if t, ok := texts[errno]; ok {
		return t
	}
	return errno.Error()
}

// errnoOf is what the blobstore would have answered where memory answered that.
func errnoOf(err error) syscall.Errno {
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return syscall.ENODEV
	case errors.Is(err, ports.ErrExists):
		return syscall.EEXIST
	case errors.Is(err, ports.ErrBusy):
		return syscall.EBUSY
	case errors.Is(err, ports.ErrNoSpace):
		return syscall.ENOSPC
	case errors.Is(err, ports.ErrInvalid):
		return syscall.EINVAL
	}
	return syscall.EIO
}
