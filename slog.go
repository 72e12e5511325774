package rebuild

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ZapFromSlog returns a zap logger that writes to a slog logger, for the other types of
// this module that log, such as spdkhost.Config. nil is for nil.
func ZapFromSlog(log *slog.Logger) *zap.Logger {
	if log == nil {
		return nil
	}
	return zap.New(slogCore{log.Handler()})
}

// slogCore is a zap core on a slog handler.
type slogCore struct{ handler slog.Handler }

func (c slogCore) Enabled(level zapcore.Level) bool {
	return c.handler.Enabled(context.Background(), slogLevel(level))
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.handler.WithAttrs(slogAttrs(fields))}
}

func (c slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(entry.Time, slogLevel(entry.Level), entry.Message, entry.Caller.PC)
	record.AddAttrs(slogAttrs(fields)...)
	return c.handler.Handle(context.Background(), record)
}

func (slogCore) Sync() error { return nil }

// slogLevel: zap counts its levels by one, slog by four; info is 0 for both.
func slogLevel(level zapcore.Level) slog.Level {
	return min(slog.Level(level)*(slog.LevelWarn-slog.LevelInfo), slog.LevelError)
}

// slogAttrs keeps the order of the fields. A field may be several attributes: an error
// that has a verbose form is two.
func slogAttrs(fields []zapcore.Field) []slog.Attr {
	var attrs []slog.Attr
	for i, field := range fields {
		if field.Type == zapcore.NamespaceType {
			return append(attrs, slog.Attr{Key: field.Key, Value: slog.GroupValue(slogAttrs(fields[i+1:])...)})
		}
		encoded := zapcore.NewMapObjectEncoder()
		field.AddTo(encoded)
		for key, value := range encoded.Fields {
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	return attrs
}
