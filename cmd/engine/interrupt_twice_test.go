package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/simtarget"
	"github.com/rootgraft/rebuild/internal/adapters/spdk/targettest"
	"github.com/rootgraft/rebuild/spdkhost"
)

// slowRebuild starts two simulated targets, and returns the arguments of a rebuild
// between them whose copy takes 8 s.
func slowRebuild(t *testing.T) (from, to *targettest.Target, args []string) {
	t.Helper()
	fabric := simtarget.NewFabric()
	from, to = targettest.Simulate(t, fabric, simtarget.Fork), targettest.Simulate(t, fabric, simtarget.Fork)
	stores := [2]string{from.NewStore(t, 32), to.NewStore(t, 32)}
	host, err := spdkhost.Open(t.Context(), spdkhost.Config{Socket: from.Socket, Lvstore: stores[0]})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close()) })
	head, err := host.Clone(t.Context(), "", "v-r-1", 8*targettest.ClusterSize, "none")
	require.NoError(t, err)
	for i := range uint64(8) {
		from.Write(t, head, filled(1), i*targettest.ClusterSize)
	}
	_, err = host.Snapshot(t.Context(), head, rebuild.SnapshotLvolName("v-r-1", "s1"), rebuild.Attributes{})
	require.NoError(t, err)
	to.LimitWrites(t, stores[1], 1)
	return from, to, []string{
		"rebuild", "--source", fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-1", from.Socket, stores[0]),
		"--destination", fmt.Sprintf("unix://%s?lvs=%s&replica=v-r-2", to.Socket, stores[1]),
	}
}

// asProcess runs this program as a process of its own.
func asProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), "ENGINE_TEST_ARGS="+strings.Join(args, "\n"))
	return command
}

// After the first Ctrl-C the program cleans up, which takes long if a target does not
// answer.
func TestSecondCtrlCEndsProgramAtOnce(t *testing.T) {
	from, to, args := slowRebuild(t)
	command := asProcess(t, args...)
	started := make(chan struct{})
	interrupt := func() {
		<-started
		_ = command.Process.Signal(os.Interrupt)
	}
	var copying, tidying sync.Once
	from.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "bdev_lvol_check_shallow_copy" {
			copying.Do(interrupt)
		}
		return simtarget.Fault{}
	})
	to.Simulated().Inject(func(r simtarget.Request) simtarget.Fault {
		if r.Method == "nvmf_subsystem_remove_ns" {
			tidying.Do(interrupt)
			return simtarget.Fault{Before: simtarget.Silence}
		}
		return simtarget.Fault{}
	})
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	require.NoError(t, command.Start())
	close(started)
	err := command.Wait()
	from.Simulated().Inject(nil)
	to.Simulated().Inject(nil)
	require.Error(t, err)
	status, ok := command.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "%v: %s", command.ProcessState, &out)
	require.Equal(t, syscall.SIGINT, status.Signal())
}
