package scenario

import (
	"cmp"
	"slices"
)

// content is the source of an lvol's bytes: one of these, or none.
type content struct {
	writes []Write
	file   *diskFile // written completely, from the first byte on
	like   *lvol     // an lvol of the source, whose own clusters are copied
}

// span is a range of own clusters, in bytes, from inclusive to exclusive.
type span struct{ from, to uint64 }

// within reports whether the write ends within size bytes, without an overflow.
func (w Write) within(size uint64) bool {
	return w.Offset <= size && w.Length <= size-w.Offset
}

// ownSpans are the own clusters that the content gives to an lvol of that size, in
// ascending order, merged.
func (c content) ownSpans(size, clusterSize uint64) []span {
	var touched []span
	touch := func(from, to uint64) {
		if to = min(to, size); from < to {
			touched = append(touched, span{from / clusterSize * clusterSize, roundUp(to, clusterSize)})
		}
	}
	switch {
	case c.file != nil:
		touch(0, size)
	case c.like != nil:
		for _, own := range c.like.own {
			touch(own.from, own.to)
		}
	default:
		for _, w := range c.writes {
			touch(w.Offset, w.Offset+w.Length)
		}
	}
	return merge(touched)
}

func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var merged []span
	for _, next := range spans {
		if last := len(merged) - 1; last >= 0 && next.from <= merged[last].to {
			merged[last].to = max(merged[last].to, next.to)
			continue
		}
		merged = append(merged, next)
	}
	return merged
}

// length is the number of bytes in the spans.
func length(spans []span) uint64 {
	var sum uint64
	for _, s := range spans {
		sum += s.to - s.from
	}
	return sum
}
