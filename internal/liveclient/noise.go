package liveclient

import (
	"math/rand/v2"
	"sync"
)

// drawn are random bytes, which all writes are taken from: to draw each byte of each write
// takes most of the time of a client.
var drawn = sync.OnceValue(func() []byte {
	p := make([]byte, 1<<16)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p) // it never fails
	return p
})

// noise returns the random bytes from a random position on.
func noise(random *rand.Rand, length int64) []byte {
	p := make([]byte, length)
	at := random.IntN(len(drawn()))
	for rest := p; len(rest) > 0; at = 0 {
		rest = rest[copy(rest, drawn()[at:]):]
	}
	return p
}
