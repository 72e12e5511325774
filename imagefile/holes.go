package imagefile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// sparseFile finds the holes of a file, which read as zeros.
type sparseFile struct {
	*os.File
	size uint64 // when it was opened
}

// extent asks the file system, which reports data where it does not support holes.
func (f *sparseFile) extent(offset uint64) (length uint64, zero bool, err error) {
	rest := f.size - min(offset, f.size)
	data, err := f.Seek(int64(offset), seekData)
	switch {
	case errors.Is(err, syscall.ENXIO): // a hole up to the present end of the file
		info, err := f.Stat()
		if err != nil {
			return 0, false, err
		}
		if now := uint64(info.Size()); now < f.size {
			return 0, false, fmt.Errorf("%s ends after %d of %d bytes: it was truncated meanwhile", f.Name(), now, f.size)
		}
		return rest, true, nil
	case err != nil:
		return rest, false, nil //nolint:nilerr // see above
	case uint64(data) > offset:
		return min(uint64(data)-offset, rest), true, nil
	}
	hole, err := f.Seek(int64(offset), seekHole)
	if err != nil {
		return rest, false, nil //nolint:nilerr // see above
	}
	return min(uint64(hole)-offset, rest), false, nil
}
