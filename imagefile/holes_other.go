//go:build !linux

package imagefile

// No file system takes these, so all is data.
const (
	seekData = -1
	seekHole = -1
)
