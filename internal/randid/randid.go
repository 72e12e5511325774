// Package randid draws identifiers at random.
package randid

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Hex is twice as many lower-case hex digits as bytes.
func Hex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// UUID is a random UUID (version 4).
func UUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
