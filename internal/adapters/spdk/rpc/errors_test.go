package rpc

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/longhorn/go-spdk-helper/pkg/jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/ports"
)

func TestKindsOfRefusals(t *testing.T) {
	for _, c := range []struct {
		code    int
		message string
		kind    error
	}{
		{-19, "No such device", ports.ErrNotFound},
		{-32602, "No such device", ports.ErrNotFound},
		{-32603, "No such file or directory", ports.ErrNotFound},
		{-17, "File exists", ports.ErrExists},
		{-32602, "File exists", ports.ErrExists},
		{-32603, "Transport type 'TCP' already exists", ports.ErrExists},
		{-114, "A controller named X already exists with the specified network path", ports.ErrExists},
		{-32602, "Device or resource busy", ports.ErrBusy},
		{-32603, "Device or resource busy", ports.ErrBusy},
		{-32602, "No space left on device", ports.ErrNoSpace},
		{-32602, "Invalid argument", ports.ErrInvalid},
		{-22, "Invalid argument", ports.ErrInvalid},
		{-32602, "Invalid parameters", ports.ErrInvalid},
		{-1, "Operation not permitted", ports.ErrInvalid},
		{-32603, "Operation not permitted", ports.ErrInvalid},
		{-32601, "Method not found", ports.ErrUnsupported},
		{-32603, "spdk_json_decode_object failed", ports.ErrUnsupported},
		{-5, "Input/output error", ports.ErrUnavailable},
		{-110, "Connection timed out", ports.ErrUnavailable},
		{-32602, "Cannot allocate memory", ports.ErrUnavailable},
		{-32603, "Internal error", ports.ErrUnavailable},
		{-99, "what nobody has seen yet", ports.ErrUnavailable},
	} {
		t.Run(fmt.Sprintf("%d %s", c.code, c.message), func(t *testing.T) {
			err := newRefusal("/sock", "method", jsonrpc.ResponseError{Code: jsonrpc.RespErrorCode(c.code), Message: jsonrpc.RespErrorMsg(c.message)})
			require.ErrorIs(t, err, c.kind)
			require.Equal(t, fmt.Sprintf("method on /sock: %s (code %d)", c.message, c.code), err.Error())
		})
	}
}

func TestWithKindHidesTheOldKind(t *testing.T) {
	refusal := newRefusal("/sock", "bdev_nvme_attach_controller", jsonrpc.ResponseError{Code: -19, Message: "No such device"})
	err := WithKind(ports.ErrUnavailable, fmt.Errorf("attach: %w", refusal))
	require.ErrorIs(t, err, ports.ErrUnavailable)
	require.NotErrorIs(t, err, ports.ErrNotFound)
	require.True(t, RefusedAs(err, syscall.ENODEV), "the target's words are still there")
	require.False(t, RefusedAs(errors.New("x"), syscall.ENODEV))
}
