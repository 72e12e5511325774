package scenario

import (
	"crypto/sha512"
	"encoding/hex"
	"io"
)

// maxChecksummed is the size, in bytes, up to which images get a checksum: that reads
// all of the image, and images may be terabytes of zeros. A missing checksum contradicts
// nothing.
const maxChecksummed = 1 * gib

// checksum completes the record of an image before its seal. The volume's image has the
// same record on both hosts.
func (b *builder) checksum(v *lvol) error {
	image := v.seal.Image
	if image == nil || image.Checksum != "" || v.size > maxChecksummed {
		return nil
	}
	bytes, size, err := b.host.View(v.uuid)
	if err != nil {
		return err
	}
	sum := sha512.New()
	if _, err := io.CopyN(sum, bytes, int64(size)); err != nil {
		return err
	}
	image.Checksum = hex.EncodeToString(sum.Sum(nil))
	return nil
}
