package raid

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBaseIsDoubtedForATime has an I/O of a base fail. The RAID would have dropped it since, had
// that been a write.
func TestBaseIsDoubtedForATime(t *testing.T) {
	for _, before := range []uint64{0, 2} { // failures when it is seen first
		synctest.Test(t, func(t *testing.T) {
			var h heads
			at := func(failed uint64) (since time.Time, doubted bool) {
				return h.see("head", "base", &proof{failed: failed})
			}
			h.count("head", "base", before)
			since, doubted := at(before)
			require.Equal(t, before > 0, doubted)
			require.Equal(t, before == 0, since.IsZero())
			time.Sleep(dropsIn)
			_, doubted = at(before)
			require.False(t, doubted)
			_, doubted = at(before + 1)
			require.True(t, doubted)
			since, _ = at(before + 1)
			require.Equal(t, time.Now(), since)
			time.Sleep(dropsIn - 1)
			_, doubted = at(before + 1)
			require.True(t, doubted)
			time.Sleep(time.Nanosecond)
			again, doubted := at(before + 1)
			require.False(t, doubted)
			require.Equal(t, since, again)
		})
	}
}
