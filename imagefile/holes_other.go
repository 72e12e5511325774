//go:build !linux

package imagefile

// No file system supports these, so everything is data.
const (
	seekData = -1
	seekHole = -1
)
