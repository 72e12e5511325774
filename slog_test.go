package rebuild_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rootgraft/rebuild"
)

// slogText returns a logger and what it has written, without the time.
func slogText(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	})), &out
}

func TestEngineLogsToSlog(t *testing.T) {
	log, out := slogText(slog.LevelInfo)
	_, err := rebuild.New(rebuild.WithSlog(log)).Rebuild(t.Context(), lostReplica())
	require.NoError(t, err)
	require.Contains(t, out.String(), "level=INFO msg=rebuild replica=vol-1-r-4e5f6a7b run=")
	require.Contains(t, out.String(), "outcome=complete copiedBytes=20480 duration=")
}

func TestEngineWithoutLoggerIsSilent(t *testing.T) {
	for _, options := range [][]rebuild.Option{nil, {rebuild.WithLogger(nil)}, {rebuild.WithSlog(nil)}} {
		_, err := rebuild.New(options...).Rebuild(t.Context(), lostReplica())
		require.NoError(t, err)
	}
}

func TestZapFromSlog(t *testing.T) {
	log, out := slogText(slog.LevelInfo)
	zapped := rebuild.ZapFromSlog(log)
	zapped.Debug("below the level")
	zapped.Info("one", zap.String("b", "x"), zap.Int("a", 2), zap.Error(errors.New("failed")))
	zapped.With(zap.String("host", "disk-1")).Warn("two", zap.Bool("more", true))
	zapped.Error("three", zap.Namespace("lvol"), zap.String("name", "head"), zap.Uint64("size", 7))
	zapped.DPanic("four")
	require.Equal(t, `level=INFO msg=one b=x a=2 error=failed
level=WARN msg=two host=disk-1 more=true
level=ERROR msg=three lvol.name=head lvol.size=7
level=ERROR msg=four
`, out.String())
	require.False(t, zapped.Core().Enabled(zap.DebugLevel))
	require.NoError(t, zapped.Sync())
}
