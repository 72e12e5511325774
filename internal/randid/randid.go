// Package randid draws identifiers at random.
package randid

import (
	"crypto/rand"
	"encoding/hex"
)

// Hex is twice as many lower-case hex digits as bytes.
func Hex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}
