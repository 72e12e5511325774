package scenario

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// generator is the endless stream of bytes of a seed.
func generator(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
