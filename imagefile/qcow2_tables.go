package imagefile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// state is how a part of a disk is stored.
type state int

const (
	zeros state = iota // not stored: reads as zeros
	stored
	compressed
)

// stretch is a part of a disk with one state: a cluster, a subcluster, or all clusters of a
// second-level table that does not exist.
type stretch struct {
	state  state
	length uint64 // bytes from the requested offset, at most to the end of the disk
	at     uint64 // offset in the file of the requested byte, or of the beginning of a compressed cluster
	packed uint64 // upper bound of the bytes of a compressed cluster in the file
}

// find looks up an offset, which must be less than the disk's size.
func (q *qcow2) find(offset uint64) (stretch, error) {
	s, err := q.lookUp(offset)
	s.length = min(s.length, q.size-offset)
	return s, err
}

func (q *qcow2) lookUp(offset uint64) (stretch, error) {
	cluster, within := offset>>q.clusterBits, offset&(q.cluster()-1)
	table, entry := cluster/q.entries(), cluster%q.entries()
	if q.first[table] == 0 {
		return stretch{length: (table+1)*q.entries()<<q.clusterBits - offset}, nil
	}
	if err := q.readSecond(q.first[table]); err != nil {
		return stretch{}, err
	}
	be := binary.BigEndian
	if q.extended {
		return q.part(be.Uint64(q.second[entry*16:]), be.Uint64(q.second[entry*16+8:]), within)
	}
	e := be.Uint64(q.second[entry*8:])
	if e&1 != 0 && !isCompressed(e) {
		if q.version < 3 {
			return stretch{}, errDamaged("a cluster of zeros, which version 2 does not have")
		}
		return stretch{length: q.cluster() - within}, nil
	}
	return q.whole(e, within)
}

func isCompressed(entry uint64) bool { return entry>>62&1 != 0 }

// whole decodes an entry without subclusters.
func (q *qcow2) whole(entry, within uint64) (stretch, error) {
	s := stretch{length: q.cluster() - within}
	if isCompressed(entry) {
		bits := 62 - (q.clusterBits - 8) // of the offset; the bits above are the number of further sectors
		s.state, s.at = compressed, entry&(1<<bits-1)
		s.packed = (entry&(1<<62-1)>>bits+1)*512 - s.at%512
		if s.at == 0 {
			return s, errDamaged("a compressed cluster at the beginning of the file")
		}
		return s, nil
	}
	at := entry & clusterOffset
	if at&(q.cluster()-1) != 0 {
		return s, errDamaged(fmt.Sprintf("a cluster at %d, which is not a multiple of %d", at, q.cluster()))
	}
	if at != 0 {
		s.state, s.at = stored, at+within
	}
	return s, nil
}

// part decodes the state of a subcluster in an extended entry.
func (q *qcow2) part(entry, bitmap, within uint64) (stretch, error) {
	s, err := q.whole(entry, within)
	if err != nil || s.state == compressed {
		return s, err
	}
	size := q.cluster() / 32
	i := within / size
	s.length = size - within%size
	allocated, zero := bitmap>>i&1 != 0, bitmap>>(32+i)&1 != 0
	switch {
	case allocated && (zero || s.state != stored):
		return s, errDamaged("a part of a cluster that is there and is not")
	case !allocated:
		s.state = zeros
	}
	return s, nil
}

// readSecond reads the second-level table at that offset, unless it is in use already.
func (q *qcow2) readSecond(at uint64) error {
	if q.secondAt == at {
		return nil
	}
	if at&(q.cluster()-1) != 0 {
		return errDamaged(fmt.Sprintf("a table at %d, which is not a multiple of %d", at, q.cluster()))
	}
	if q.second == nil {
		q.second = make([]byte, q.cluster())
	}
	q.secondAt = 0
	if _, err := q.file.ReadAt(q.second, int64(at)); err != nil {
		return err
	}
	q.secondAt = at
	return nil
}

func errDamaged(how string) error { return errors.New("is a damaged qcow2 image: " + how) }

// reaches reports whether all of a compressed cluster is in the file. Its last sector may
// be incomplete.
func (q *qcow2) reaches(s stretch) bool {
	end := s.at + s.packed
	return end <= q.file.size || end-q.file.size < 512 && q.unpack(s) == nil
}

// check looks up where all parts of the disk are in the file, and refuses a truncated file.
// As in QEMU, the missing end of the last cluster reads as zeros.
func (q *qcow2) check(ctx context.Context) error {
	var ends uint64 // size that the file needs
	more := false   // the needed size is a lower bound
	need := func(from, length uint64) { ends = max(ends, from+min(length, 1<<62)) }
	for i, table := range q.first {
		if err := ctx.Err(); err != nil {
			return err
		}
		if table == 0 {
			continue
		}
		from := uint64(i) * q.entries() << q.clusterBits
		err := q.readSecond(table)
		if errors.Is(err, io.EOF) {
			need(table, q.cluster())
			more = true
			continue
		}
		if err != nil {
			return err
		}
		for at, end := from, min(from+q.entries()<<q.clusterBits, q.size); at < end; {
			s, err := q.find(at)
			if err != nil {
				return err
			}
			switch {
			case s.state == stored:
				need(s.at, s.length)
			case s.state == compressed && !q.reaches(s):
				need(s.at, s.packed)
			}
			at += s.length
		}
	}
	if ends > q.file.size {
		atLeast := ""
		if more || ends&(q.cluster()-1) != 0 { // the file may have been longer than needed
			atLeast = "at least "
		}
		return fmt.Errorf("is a truncated qcow2 image: the file ends after %d bytes, %s%d are missing", q.file.size, atLeast, ends-q.file.size)
	}
	return nil
}
