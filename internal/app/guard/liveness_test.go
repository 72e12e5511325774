package guard

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// receiver is a host that answers looks with what it is given.
type receiver struct {
	ports.Host
	answers []error
	asked   int
}

func (r *receiver) Look(context.Context, string) (domain.Lvol, error) {
	err := r.answers[min(r.asked, len(r.answers)-1)]
	r.asked++
	return domain.Lvol{}, err
}

func TestACopyEndsWhenItsReceiverAnswersNoMore(t *testing.T) {
	gone := fmt.Errorf("the socket is closed: %w", ports.ErrUnavailable)
	for name, test := range map[string]struct {
		answers []error
		ends    bool
	}{
		"it answers":                      {answers: []error{nil}},
		"it answers that the lvol is not": {answers: []error{ports.ErrNotFound}},
		"it is silent once":               {answers: []error{nil, gone, nil, gone, nil}},
		"it is gone":                      {answers: []error{nil, nil, gone}, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &receiver{answers: test.answers}
				copying, stop := watch(t.Context(), host, "an lvol")
				select {
				case <-copying.Done():
					require.True(t, test.ends, "%v", context.Cause(copying))
					require.ErrorIs(t, context.Cause(copying), ports.ErrUnavailable)
					require.ErrorContains(t, context.Cause(copying), "the socket is closed")
				case <-time.After(time.Hour):
					require.False(t, test.ends)
				}
				stop() // from here on nobody asks
				require.Error(t, copying.Err())
				if !test.ends {
					require.Greater(t, host.asked, len(test.answers))
				}
			})
		})
	}
}
