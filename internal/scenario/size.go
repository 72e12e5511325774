package scenario

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

const (
	maxSize            = 64 * tib // of any lvol
	minClusterSize     = 4 * kib  // one block
	maxClusterSize     = 1 * gib
	defaultClusterSize = 1 * mib
)

var units = []struct {
	name  string
	bytes uint64
}{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}}

// parseSize reads a number of bytes, or of KiB, MiB, GiB or TiB. ok is false for anything
// else; a size beyond 64 bits is the largest possible one.
func parseSize(text string) (size uint64, ok bool) {
	unit := uint64(1)
	for _, u := range units {
		if number, has := strings.CutSuffix(text, u.name); has {
			text, unit = strings.TrimRight(number, " "), u.bytes
			break
		}
	}
	if !onlyDigits(text) {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 64)
	high, size := bits.Mul64(number, unit)
	if err != nil || high > 0 {
		return 1<<64 - 1, true
	}
	return size, true
}

// onlyDigits refuses the signs, underscores and bases that YAML and strconv accept.
func onlyDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// formatSize formats a size as in a file.
func formatSize(size uint64) string {
	for _, u := range units {
		if size > 0 && size%u.bytes == 0 {
			return strconv.FormatUint(size/u.bytes, 10) + u.name
		}
	}
	return fmt.Sprintf("%d bytes", size)
}

// checkSize refuses sizes that no lvol on a store with such clusters can have.
func checkSize(size, clusterSize uint64, of string) error {
	switch {
	case size == 0:
		return errors.New("expected a size of more than 0 bytes, got 0")
	case size > maxSize:
		return fmt.Errorf("expected a size of at most %s, got %s", formatSize(maxSize), formatSize(size))
	case size%clusterSize != 0:
		return fmt.Errorf("expected a multiple of the %s %s, got %s", of, formatSize(clusterSize), formatSize(size))
	}
	return nil
}

func checkClusterSize(size uint64) error {
	if size < minClusterSize || size > maxClusterSize || bits.OnesCount64(size) != 1 {
		return fmt.Errorf("expected a power of two from %s to %s, got %s", formatSize(minClusterSize), formatSize(maxClusterSize), formatSize(size))
	}
	return nil
}

// roundUp rounds a size up to whole clusters.
func roundUp(size, clusterSize uint64) uint64 {
	return (size + clusterSize - 1) / clusterSize * clusterSize
}

// checkSizeInVolume refuses sizes that no lvol below the volume's head can have.
func (s *Scenario) checkSizeInVolume(field string, size uint64) error {
	if err := checkSize(size, s.clusterSize(), "cluster size"); err != nil {
		return s.errorAt(field, "%v", err)
	}
	if size > s.Volume.Size {
		return s.errorAt(field, "expected at most the volume's size %s, got %s", formatSize(s.Volume.Size), formatSize(size))
	}
	return nil
}
