package rebuildfx_test

import (
	"bytes"
	"context"
	"log/slog"
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
	var text bytes.Buffer
	zapLog, slogLog := fx.Supply(zap.New(core)), fx.Supply(slog.New(slog.NewTextHandler(&text, nil)))

	rebuildWith(t, slogLog)
	require.Contains(t, text.String(), "outcome=complete")
	text.Reset()
	rebuildWith(t, slogLog, zapLog) // zap comes first
	require.NotZero(t, logged.Len())
	require.Empty(t, text.String())
	rebuildWith(t) // without a logger
}

// rebuildWith rebuilds a replica in a program with these options.
func rebuildWith(t *testing.T, options ...fx.Option) {
	t.Helper()
	var engine *rebuild.Engine
	fxtest.New(t, append(options, rebuildfx.Module, fx.Populate(&engine))...).RequireStart().RequireStop()
	ctx := context.Background()
	fabric := memhost.NewFabric()
	source, destination := fabric.NewHost(memhost.Config{}), fabric.NewHost(memhost.Config{})
	_, err := source.Clone(ctx, "", "vol-1-r-0a1b2c3d", 1<<20, rebuild.RecordNoBase)
	require.NoError(t, err)
	_, err = engine.Rebuild(ctx, rebuild.Request{
		Source:      rebuild.Site{Host: source, Replica: "vol-1-r-0a1b2c3d"},
		Destination: rebuild.Site{Host: destination, Replica: "vol-1-r-4e5f6a7b"},
	})
	require.NoError(t, err)
}
