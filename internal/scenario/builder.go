package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/adapters/memory"
	"github.com/rootgraft/rebuild/internal/ports"
)

// buildingPrefix is the prefix of the names of lvols that are being built. No name in a
// file contains it, and the names are short enough for every host.
const buildingPrefix = '~'

// builder creates the lvols of a layout on a host, with the verbs of a rebuild and with
// writes.
type builder struct {
	scenario *Scenario
	host     *memory.Host
	source   *memory.Host // to read the content of "like: source" from
	chunk    []byte
}

func newBuilder(s *Scenario, host, source *memory.Host, clusterSize uint64) *builder {
	// A chunk is whole clusters, so no cluster is written twice.
	return &builder{scenario: s, host: host, source: source, chunk: make([]byte, max(clusterSize, mib))}
}

func (b *builder) build(ctx context.Context, l *layout) error {
	for n, at := range l.order {
		v := &l.lvols[at]
		parent := ""
		if v.parent != noLvol {
			parent = l.lvols[v.parent].uuid
		}
		if err := b.lvol(ctx, n, v, parent); err != nil {
			if _, ours := errors.AsType[*Error](err); ours {
				return err
			}
			return b.scenario.errorAt(v.field, "cannot be built: %v", err)
		}
	}
	return nil
}

// lvol grafts before it writes: copy on write reads the rest of a cluster from the
// parent, and a parent may be longer than its clones.
func (b *builder) lvol(ctx context.Context, n int, v *lvol, parent string) (err error) {
	name := v.name
	if v.readOnly {
		name = fmt.Sprintf("%c%d", buildingPrefix, n)
	}
	if v.uuid, err = b.host.Create(ctx, name, v.size); err != nil {
		return err
	}
	if parent != "" {
		if err := b.host.Graft(ctx, v.uuid, parent); err != nil {
			return err
		}
	}
	if err := b.fill(v); err != nil {
		return err
	}
	if !v.readOnly {
		return b.record(ctx, v)
	}
	if err := b.checksum(v); err != nil {
		return err
	}
	v.uuid, err = b.host.Seal(ctx, v.uuid, v.name, v.seal)
	return err
}

// record does nothing on a host without records.
func (b *builder) record(ctx context.Context, v *lvol) error {
	if v.record == "" {
		return nil
	}
	if err := b.host.Record(ctx, v.uuid, v.record); !errors.Is(err, ports.ErrUnsupported) {
		return err
	}
	return nil
}

// fill writes the content.
func (b *builder) fill(v *lvol) error {
	switch {
	case v.file != nil:
		return b.fillFromFile(v)
	case v.like != nil:
		for _, own := range v.like.own {
			from := &view{b.source, v.like.uuid, own.from}
			if err := b.writeFrom(v, own.from, min(own.to, v.size), from); err != nil {
				return err
			}
		}
	}
	for _, w := range v.writes {
		if err := b.writeFrom(v, w.Offset, w.Offset+w.Length, generator(w.Seed)); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) fillFromFile(v *lvol) error {
	file, err := b.scenario.openImageFile(*v.file)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	if err := b.writeFrom(v, 0, v.size, io.MultiReader(io.NewSectionReader(file, 0, int64(file.Size)), zeros{})); err != nil {
		return b.scenario.errorAt(v.file.field, "%s cannot be read: %v", quote(v.file.given), withoutPath(err))
	}
	return nil
}

// writeFrom writes the bytes of a reader to the offsets from up to to.
func (b *builder) writeFrom(v *lvol, from, to uint64, what io.Reader) error {
	most := uint64(len(b.chunk))
	for from < to {
		part := b.chunk[:min(to, (from/most+1)*most)-from]
		if _, err := io.ReadFull(what, part); err != nil {
			return err
		}
		if err := b.host.WriteAt(v.uuid, part, from); err != nil {
			return err
		}
		from += uint64(len(part))
	}
	return nil
}

// view reads the bytes of an lvol from offset on.
type view struct {
	host   *memory.Host
	uuid   string
	offset uint64
}

func (r *view) Read(p []byte) (int, error) {
	if err := r.host.ReadAt(r.uuid, p, r.offset); err != nil {
		return 0, err
	}
	r.offset += uint64(len(p))
	return len(p), nil
}

// zeros pads the last cluster of a file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
