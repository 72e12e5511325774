package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var _ ports.Maker = (*Mirror)(nil)

var errNotMade = fmt.Errorf("the mirror does not exist: %w", ports.ErrNotFound)

// pending tells what is noted of a mirror that does not exist.
func (m *Mirror) pending(volume *domain.Volume) error {
	if m.noted == nil {
		return errNotMade
	}
	*volume = domain.Volume{Name: m.config.Name, Pending: true}
	for _, head := range m.noted {
		volume.Members = append(volume.Members, domain.Member{
			Head: head, Name: head, Mode: domain.ModeERR, Reason: "the mirror is being made or removed",
		})
	}
	return nil
}

// Begin implements ports.Maker.
func (m *Mirror) Begin(ctx context.Context, heads ...string) error {
	return m.carryOut(ctx, Call{Method: "begin"}, "note its heads", func() error {
		sorted := slices.Sorted(slices.Values(heads))
		switch {
		case m.exists:
			return fmt.Errorf("it exists: %w", ports.ErrExists)
		case m.noted != nil && !slices.Equal(m.noted, sorted):
			return fmt.Errorf("other heads are noted: %w", ports.ErrExists)
		}
		m.noted = sorted
		return nil
	})
}

// Make implements ports.Maker.
func (m *Mirror) Make(ctx context.Context, at ...ports.Address) error {
	return m.carryOut(ctx, Call{Method: "make"}, "make it", func() error {
		if m.exists {
			return fmt.Errorf("it exists: %w", ports.ErrExists)
		}
		m.size = 0
		err := m.addAll(at)
		if err == nil && len(m.members) == 0 {
			err = fmt.Errorf("no member: %w", ports.ErrInvalid)
		}
		if err != nil {
			m.members = nil
			return err
		}
		m.exists = true
		return nil
	})
}

func (m *Mirror) addAll(at []ports.Address) error {
	for _, one := range at {
		if _, err := m.addAt(one); err != nil {
			return err
		}
	}
	return nil
}

// addAt adds the head at a way.
func (m *Mirror) addAt(at ports.Address) (*member, error) {
	if _, connected := m.connections[at]; !connected {
		return nil, fmt.Errorf("%s is not connected: %w", at, ports.ErrUnavailable)
	}
	w := m.fabric.ways.Get(at)
	if w == nil || w.end() == nil {
		return nil, fmt.Errorf("nothing is shown at %s: %w", at, ports.ErrUnavailable)
	}
	return m.add(&member{host: w.host, uuid: w.end().uuid, way: w})
}

// Remove implements ports.Maker. The mirror's clients are not known, so it is never busy.
func (m *Mirror) Remove(ctx context.Context, heads ...string) error {
	return m.carryOut(ctx, Call{Method: "remove"}, "remove it", func() error {
		if !m.exists {
			return nil
		}
		m.noted = slices.Clone(heads)
		for _, it := range m.members {
			m.noted = append(m.noted, it.uuid)
			it.end(errNotMade)
		}
		slices.Sort(m.noted)
		m.noted = slices.Compact(m.noted)
		m.members, m.exists = nil, false
		m.unuseHeads()
		return nil
	})
}

// End implements ports.Maker.
func (m *Mirror) End(ctx context.Context) error {
	return m.carryOut(ctx, Call{Method: "end"}, "forget its heads", func() error {
		m.noted = nil
		return nil
	})
}
