package table_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/table"
)

func TestMap(t *testing.T) {
	var m table.Map[string, int]
	require.Zero(t, m.Get("a"))
	require.Empty(t, m.All())
	_, ok := m.Take("a")
	require.False(t, ok)

	m.Set("a", 1)
	require.Equal(t, 1, m.Ensure("a", func() int { return 2 }))
	require.Equal(t, 2, m.Ensure("b", func() int { return 2 }))
	all := m.All()
	require.Equal(t, map[string]int{"a": 1, "b": 2}, all)
	clear(all)
	v, ok := m.Take("a")
	require.True(t, ok)
	require.Equal(t, 1, v)
	_, ok = m.Find("a")
	require.False(t, ok)

	m.Replace(map[string]int{"c": 3, "d": 4})
	m.ForgetIf(func(_ string, v int) bool { return v == 3 })
	require.Equal(t, map[string]int{"d": 4}, m.All())
}

func TestEnsureCreatesOnce(t *testing.T) {
	var m table.Map[int, int]
	created := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { m.Ensure(1, func() int { created++; return created }) })
	}
	all.Wait()
	require.Equal(t, 1, created)
}
