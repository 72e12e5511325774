package imagefile

// CountUnpacked counts the clusters that are decompressed from now on.
func (f *File) CountUnpacked() *int {
	q := f.ReaderAt.(*qcow2)
	do, count := q.decompress, 0
	q.decompress = func(out, packed []byte) error {
		count++
		return do(out, packed)
	}
	return &count
}
