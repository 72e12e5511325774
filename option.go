package rebuild

import (
	"log/slog"

	"go.uber.org/zap"
)

// Option is a setting of [New].
type Option struct{ set func(*settings) }

type settings struct{ log *zap.Logger }

// WithLogger makes the engine log to a zap logger. nil logs nothing.
func WithLogger(log *zap.Logger) Option { return Option{func(s *settings) { s.log = log }} }

// WithSlog makes the engine log to a slog logger. nil logs nothing.
func WithSlog(log *slog.Logger) Option { return WithLogger(ZapFromSlog(log)) }
