package scenario

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// generator is an endless stream of the bytes that a seed stands for.
func generator(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
