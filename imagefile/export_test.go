package imagefile

// CountUnpacked counts how many clusters are decompressed from now on.
func (f *File) CountUnpacked() *int {
	q := f.ReaderAt.(*qcow2)
	do, count := q.decompress, 0
	q.decompress = func(out, packed []byte) error {
		count++
		return do(out, packed)
	}
	return &count
}
