package rebuildfx_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/memhost"
	"github.com/rootgraft/rebuild/rebuildfx"
)

func TestModuleProvidesOneEngine(t *testing.T) {
	var one, other *rebuild.Engine
	app := fxtest.New(t, rebuildfx.Module, fx.Populate(&one), fx.Invoke(func(e *rebuild.Engine) { other = e }))
	app.RequireStart().RequireStop()
	require.NotNil(t, one)
	require.Same(t, one, other)
}

func TestEngineLogsToProvidedLogger(t *testing.T) {
	core, logged := observer.New(zapcore.DebugLevel)
	var engine *rebuild.Engine
	fxtest.New(t, rebuildfx.Module, fx.Supply(zap.New(core)), fx.Populate(&engine)).RequireStart().RequireStop()

	// The engine logs that it snapshots a source's head.
	ctx := context.Background()
	fabric := memhost.NewFabric()
	source, destination := fabric.NewHost(memhost.Config{}), fabric.NewHost(memhost.Config{})
	head, err := source.Clone(ctx, "", "vol-1-r-0a1b2c3d", 1<<20, rebuild.RecordNoImage)
	require.NoError(t, err)
	require.NoError(t, source.WriteAt(head, []byte("data"), 0))
	_, err = engine.Rebuild(ctx, rebuild.Request{
		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
	})
	require.NoError(t, err)
	require.NotZero(t, logged.Len())
}
