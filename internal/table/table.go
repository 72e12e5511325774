// Package table has maps that several goroutines use at once.
package table

import (
	"maps"
	"sync"
)

// Map is a map that several goroutines may use at once. The zero value is empty.
type Map[K comparable, V any] struct {
	mu sync.Mutex
	of map[K]V
}

// Get is the value of a key; the zero value if it has none.
func (m *Map[K, V]) Get(key K) V {
	v, _ := m.Find(key)
	return v
}

// Find is the value of a key. ok is false if it has none.
func (m *Map[K, V]) Find(key K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok = m.of[key]
	return v, ok
}

// Set gives a key its value.
func (m *Map[K, V]) Set(key K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, v)
}

func (m *Map[K, V]) set(key K, v V) {
	if m.of == nil {
		m.of = make(map[K]V)
	}
	m.of[key] = v
}

// Ensure is the value of a key, which is made if it has none. The map is locked meanwhile.
func (m *Map[K, V]) Ensure(key K, create func() V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.of[key]; ok {
		return v
	}
	v := create()
	m.set(key, v)
	return v
}

// Take forgets a key and returns the value that it had. ok is false if it had none.
func (m *Map[K, V]) Take(key K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok = m.of[key]
	delete(m.of, key)
	return v, ok
}

// Add gives a key its value if it has none; false: it has one.
func (m *Map[K, V]) Add(key K, v V) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.of[key]; there {
		return false
	}
	m.set(key, v)
	return true
}

// ForgetIf forgets the keys for which forget is true.
func (m *Map[K, V]) ForgetIf(forget func(K, V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.of, forget)
}

// Replace replaces all that the map has. The map is the caller's no longer.
func (m *Map[K, V]) Replace(all map[K]V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of = all
}

// All is a copy of all that the map has.
func (m *Map[K, V]) All() map[K]V {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.of)
}
