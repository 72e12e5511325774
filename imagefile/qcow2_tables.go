package imagefile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// state is how a part of a disk is kept.
type state int

const (
	zeros state = iota // not at all: it reads as zeros
	stored
	compressed
)

// stretch is a part of a disk that is kept in one way: all of a cluster, a 32nd of
// one, or what a second table that is not there would tell of.
type stretch struct {
	state  state
	length uint64 // bytes from where it was asked for, at most to the end of the disk
	at     uint64 // in the file, where the byte that was asked for is; of a compressed cluster: where it begins
	packed uint64 // bytes of a compressed cluster in the file, at most
}

// find looks an offset up, which is less than the disk's size.
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

// whole is what an entry without parts says.
func (q *qcow2) whole(entry, within uint64) (stretch, error) {
	s := stretch{length: q.cluster() - within}
	if isCompressed(entry) {
		bits := 62 - (q.clusterBits - 8) // of the offset; above it the number of sectors that follow the first
		s.state, s.at = compressed, entry&(1<<bits-1)
		s.packed = (entry&(1<<62-1)>>bits+1)*512 - s.at%512
		if s.at == 0 {
			return s, errDamaged("a compressed cluster at the beginning of the file")
		}
		return s, nil
	}
	at := entry & clusterOffset
	if at&(q.cluster()-1) != 0 {
		return s, errDamaged(fmt.Sprintf("a cluster at %d, which is no multiple of %d", at, q.cluster()))
	}
	if at != 0 {
		s.state, s.at = stored, at+within
	}
	return s, nil
}

// part is what an extended entry says of the 32nd of a cluster.
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

// readSecond makes the second table there the one that is used.
func (q *qcow2) readSecond(at uint64) error {
	if q.secondAt == at {
		return nil
	}
	if at&(q.cluster()-1) != 0 {
		return errDamaged(fmt.Sprintf("a table at %d, which is no multiple of %d", at, q.cluster()))
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

// reaches reports whether all of a compressed cluster is in the file: of its last
// sector not all is needed.
func (q *qcow2) reaches(s stretch) bool {
	end := s.at + s.packed
	return end <= q.file.size || end-q.file.size < 512 && q.unpack(s) == nil
}

// check looks at where everything of the disk is in the file: a file that is cut
// short is refused. QEMU reads what is missing of the last cluster as zeros.
func (q *qcow2) check(ctx context.Context) error {
	var ends uint64 // what is needed of the file
	more := false   // of which not all is known
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
		if more || ends&(q.cluster()-1) != 0 { // the file may have been longer than what is needed
			atLeast = "at least "
		}
		return fmt.Errorf("is a qcow2 image that is cut short: the file ends after %d bytes, %s%d are missing", q.file.size, atLeast, ends-q.file.size)
	}
	return nil
}
