package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/domain"
)

func TestNoHostIsRefused(t *testing.T) {
	ctx, e := context.Background(), app.New(nil)
	for name, call := range map[string]func() error{
		"VerifyImage": func() error { _, err := e.VerifyImage(ctx, nil, "base", "", nil); return err },
		"ReadViews": func() error {
			_, err := e.ReadViews(ctx, app.Site{Replica: copyName}, []domain.Lvol{{UUID: "a"}}, nil)
			return err
		},
		// These two panicked before, too.
		"FindGarbage": func() error { _, err := e.FindGarbage(ctx, nil); return err },
		"DeleteImage": func() error { _, err := e.DeleteImage(ctx, nil, "base"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() { require.Error(t, call()) })
		})
	}
}
