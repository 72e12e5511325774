package spdk

import (
	"maps"
	"sync"
)

// known is what is known of lvols, by UUID. The zero value is ready.
type known[V any] struct {
	mu sync.Mutex
	of map[string]V
}

func (k *known[V]) get(uuid string) (v V, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok = k.of[uuid]
	return v, ok
}

func (k *known[V]) set(uuid string, v V) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setLocked(uuid, v)
}

func (k *known[V]) setLocked(uuid string, v V) {
	if k.of == nil {
		k.of = make(map[string]V)
	}
	k.of[uuid] = v
}

func (k *known[V]) forget(uuid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, uuid)
}

// forgetUnless drops all but those that stay.
func (k *known[V]) forgetUnless(stays map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.of, func(uuid string, _ V) bool { return !stays[uuid] })
}

// replace has all that is known from now on.
func (k *known[V]) replace(all map[string]V) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of = all
}

func (k *known[V]) all() map[string]V {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.of)
}
