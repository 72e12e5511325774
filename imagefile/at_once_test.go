package imagefile_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// io.ReaderAt allows it, and readers share the last table and cluster. make test runs this
// test under the race detector.
func TestImageIsReadBySeveralGoroutines(t *testing.T) {
	m := maker{version: 3, bits: 12, zstd: true}
	p, kinds := guest(m, 5, 60)
	f, err := open(write(t, m.image(t, p, func(i int) kind { return kinds[i] })))
	require.NoError(t, err)
	defer f.Close()
	got := make([]byte, len(p))
	failed := make([]error, 8)
	var all sync.WaitGroup
	const part = 1000 // does not divide a cluster
	for reader := range failed {
		all.Go(func() {
			for at := reader * part; at < len(p) && failed[reader] == nil; at += len(failed) * part {
				end := min(at+part, len(p))
				_, failed[reader] = f.ReadAt(got[at:end], int64(at))
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(p, got))
}
