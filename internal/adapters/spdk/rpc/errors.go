package rpc

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Codes of JSON-RPC itself (spdk/jsonrpc.h). A target also answers with negative errnos,
// and often with one of these codes and the errno's text, so both count.
const (
	codeMethodNotFound = -32601
	codeInvalidParams  = -32602
	codeInternalError  = -32603
)

// undecodable is a target's answer to parameters that it does not know, such as the
// xattrs of a snapshot on upstream SPDK.
const undecodable = "spdk_json_decode_object failed"

// Refusal is a refusal by the target, in its own words.
type Refusal struct {
	Target  string // the socket
	Method  string
	Code    int
	Message string

	kind error
}

func newRefusal(target, method string, response jsonrpc.ResponseError) *Refusal {
	e := &Refusal{Target: target, Method: method, Code: int(response.Code), Message: string(response.Message)}
	e.kind = kindOf(e.Code, e.Message)
	return e
}

// Error names the method and the target.
func (e *Refusal) Error() string {
	return fmt.Sprintf("%s on %s: %s (code %d)", e.Method, e.Target, e.Message, e.Code)
}

// Unwrap is the port's kind of the error.
func (e *Refusal) Unwrap() error { return e.kind }

// Unanswered is a call without a readable answer. Whether it took effect
// is not known.
type Unanswered struct {
	Target string
	Method string
	Err    error
}

// Error names the method and the target.
func (e *Unanswered) Error() string {
	return fmt.Sprintf("%s on %s: %v", e.Method, e.Target, e.Err)
}

// Unwrap is ports.ErrUnavailable beside the cause.
func (e *Unanswered) Unwrap() []error { return []error{ports.ErrUnavailable, e.Err} }

// kinds are the port's words for errnos.
var kinds = map[syscall.Errno]error{
	syscall.ENODEV: ports.ErrNotFound, syscall.ENOENT: ports.ErrNotFound,
	syscall.EEXIST: ports.ErrExists, syscall.EALREADY: ports.ErrExists,
	syscall.EBUSY:  ports.ErrBusy,
	syscall.ENOSPC: ports.ErrNoSpace,
	syscall.EINVAL: ports.ErrInvalid, syscall.EPERM: ports.ErrInvalid, syscall.ENAMETOOLONG: ports.ErrInvalid,
	syscall.ENOTSUP: ports.ErrUnsupported, syscall.ENOSYS: ports.ErrUnsupported,
	syscall.EIO: ports.ErrUnavailable, syscall.ENOMEM: ports.ErrUnavailable, syscall.ETIMEDOUT: ports.ErrUnavailable,
	syscall.EAGAIN: ports.ErrUnavailable, syscall.ENXIO: ports.ErrUnavailable, syscall.ECONNREFUSED: ports.ErrUnavailable,
}

// Spelled is the errno whose text a message is, and its kind. Such a text comes with a
// less specific code, or with none.
func Spelled(message string) (errno syscall.Errno, kind error, ok bool) {
	errno, ok = errnos[strings.TrimPrefix(message, "Failed to configure rate limit: ")]
	return errno, kinds[errno], ok
}

// errnos are by the C library's texts, which spdk_strerror gives.
var errnos = map[string]syscall.Errno{
	"No such device":                   syscall.ENODEV,
	"No such file or directory":        syscall.ENOENT,
	"File exists":                      syscall.EEXIST,
	"Device or resource busy":          syscall.EBUSY,
	"No space left on device":          syscall.ENOSPC,
	"Invalid argument":                 syscall.EINVAL,
	"Operation not permitted":          syscall.EPERM,
	"File name too long":               syscall.ENAMETOOLONG,
	"Operation not supported":          syscall.ENOTSUP,
	"Input/output error":               syscall.EIO,
	"Cannot allocate memory":           syscall.ENOMEM,
	"Connection timed out":             syscall.ETIMEDOUT,
	"Resource temporarily unavailable": syscall.EAGAIN,
	"No such device or address":        syscall.ENXIO,
}

// kindOf maps a target's answer to the port's kinds. An unknown one is ErrUnavailable, and
// a retry decides.
func kindOf(code int, message string) error {
	if _, kind, ok := Spelled(message); ok {
		return kind
	}
	switch {
	case strings.HasSuffix(message, " already exists"): // a transport, in the caller's spelling; code -32603
		return ports.ErrExists
	case code == codeMethodNotFound, message == undecodable:
		return ports.ErrUnsupported
	case code == codeInvalidParams:
		return ports.ErrInvalid
	case code < 0 && code > codeInvalidParams:
		if kind, ok := kinds[syscall.Errno(-code)]; ok {
			return kind
		}
	}
	return ports.ErrUnavailable
}

// RefusedAs reports whether the target refused with that text.
func RefusedAs(err error, errno syscall.Errno) bool {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return false
	}
	said, _, ok := Spelled(refusal.Message)
	return ok && said == errno || !ok && refusal.Code == -int(errno)
}

// OutcomeUnknown reports whether the call got no answer: it may have taken effect.
func OutcomeUnknown(err error) bool {
	var unreachable *Unanswered
	return errors.As(err, &unreachable)
}

// IsGone reports whether the target has ended or hangs: a retry at once is of no use.
func IsGone(err error) bool {
	return errors.Is(err, ErrUnresponsive) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// WithKind gives an error another kind and keeps its text.
func WithKind(kind, err error) error { return &otherKind{err, kind} }

type otherKind struct {
	err  error
	kind error
}

func (e *otherKind) Error() string { return e.err.Error() }
func (e *otherKind) Unwrap() error { return e.kind }

// As finds the target's own words behind the other kind.
func (e *otherKind) As(target any) bool { return errors.As(e.err, target) }

// IsRefusal reports whether the target has refused the call.
func IsRefusal(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal)
}

// Unavailable keeps the text of an error that is not about the lvol asked for.
func Unavailable(err error) error {
	if errors.Is(err, ports.ErrNotFound) {
		return WithKind(ports.ErrUnavailable, err)
	}
	return err
}
