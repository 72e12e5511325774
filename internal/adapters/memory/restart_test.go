package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Events that end a copy: its goroutine ends, nothing is written any more, and the
// source is unlocked.
func TestCopyEndings(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, from, to *memory.Host, into string){
		"a restart of the sender":   func(_ *testing.T, from, _ *memory.Host, _ string) { from.Restart() },
		"a restart of the receiver": func(_ *testing.T, _, to *memory.Host, _ string) { to.Restart() },
		"a withdrawal": func(t *testing.T, _, to *memory.Host, into string) {
			require.NoError(t, to.Withdraw(t.Context(), run, into))
		},
		"a second reception": func(t *testing.T, from, to *memory.Host, into string) {
			receive(t, to, into, from)
		},
		"a release of the receiver": func(t *testing.T, _, to *memory.Host, _ string) {
			require.NoError(t, to.Release(t.Context(), run))
		},
		"a release of the sender": func(t *testing.T, from, _ *memory.Host, _ string) {
			require.NoError(t, from.Release(t.Context(), run))
		},
		"a delete of the lvol": func(t *testing.T, _, to *memory.Host, into string) {
			require.NoError(t, to.Delete(t.Context(), into))
			create(t, to, "filling", 4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := twoHosts()
				a := snapshot(t, from, "a", 4, 1, 0, 1, 2, 3)
				l := create(t, to, "filling", 4)
				address := receive(t, to, l, from)
				from.Inject(slow("copy"))
				copied := make(chan error, 1)
				go func() { copied <- from.Copy(t.Context(), run, a, address, nil) }()
				synctest.Wait()
				begun := time.Now()
				end(t, from, to, l)
				require.ErrorIs(t, <-copied, ports.ErrUnavailable)
				require.Zero(t, time.Since(begun), "it ends at once")
				store, err := to.List(t.Context())
				require.NoError(t, err)
				require.Len(t, store.Lvols, 1)
				require.Zero(t, store.Lvols[0].Own.Count)
				_, err = from.Clone(t.Context(), a, "head", 4*kib4, "")
				require.NoError(t, err)
			})
		})
	}
}

func TestRestartEndsOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneHost()
		a := snapshot(t, h, "a", 2, 1, 0)
		l := create(t, h, "filling", 2)
		h.Inject(slow("graft"))
		grafted := make(chan error, 1)
		go func() { grafted <- h.Graft(t.Context(), l, a) }()
		synctest.Wait()
		h.Inject(nil)
		h.Restart()
		require.NoError(t, h.Delete(t.Context(), a), "nothing is locked any more")
		require.ErrorIs(t, <-grafted, ports.ErrUnavailable)
		require.Empty(t, look(t, h, l).Parent)
	})
}
