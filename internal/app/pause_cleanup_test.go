package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
	"github.com/rootgraft/rebuild/internal/ports"
)

func TestPauseDuringCleanupKeepsTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, request := newPlainFixture(t)
		broken := fmt.Errorf("the disk is broken: %w", ports.ErrInvalid)
		seals := on("seal").fails(broken)
		inject(b.destination, seals, on("release").after(seals).takes(20*time.Second))
		q := app.NewQueue(app.New(nil), app.Limits{})
		job, err := q.Submit(t.Context(), request)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.Positive(t, seals.calls())
		require.NoError(t, job.Pause())
		time.Sleep(time.Minute)
		status := job.Status()
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, app.PhaseEnded, status.Phase)
		require.ErrorIs(t, status.Err, broken)
	})
}
