package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rootgraft/rebuild/internal/ports"
)

// access is a read or a change of a member.
type access struct {
	method string
	do     func(h *Host, uuid string) error
}

// ReadAt implements io.ReaderAt. It reads from one member after the other until one
// answers.
func (m *Mirror) ReadAt(p []byte, offset int64) (int, error) {
	end := error(nil)
	if rest := max(int64(m.size)-offset, 0); int64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	members, err := m.enter(offset, int64(len(p)))
	defer m.gate.leave()
	for i := range members {
		err = m.try(members[i], access{"member-read", func(h *Host, uuid string) error {
			return h.ReadAt(uuid, p, uint64(offset))
		}})
		if err == nil {
			return len(p), end
		}
	}
	return 0, m.wrap(fmt.Sprintf("read %d bytes at %d", len(p), offset), err)
}

// ReadMember reads as ReadAt does, from the member with that head alone.
func (m *Mirror) ReadMember(head string, p []byte, offset int64) error {
	members, err := m.enter(offset, int64(len(p)))
	defer m.gate.leave()
	for _, it := range members {
		if it.uuid == head {
			return m.wrap("read", it.host.ReadAt(head, p, uint64(offset)))
		}
	}
	if err == nil {
		err = fmt.Errorf("member %s: %w", head, ports.ErrNotFound)
	}
	return m.wrap("read", err)
}

// WriteAt implements io.WriterAt. A nil error means that all members have the bytes.
func (m *Mirror) WriteAt(p []byte, offset int64) (int, error) {
	err := m.change(offset, int64(len(p)), access{"member-write", func(h *Host, uuid string) error {
		return h.WriteAt(uuid, p, uint64(offset))
	}})
	if err != nil {
		return 0, m.wrap(fmt.Sprintf("write %d bytes at %d", len(p), offset), err)
	}
	return len(p), nil
}

// WriteZeroes writes length zeros. They are own clusters like other bytes.
func (m *Mirror) WriteZeroes(offset, length int64) error {
	return m.wrap("write zeros", m.change(offset, length, access{"member-zeroes", func(h *Host, uuid string) error {
		return h.WriteAt(uuid, make([]byte, length), uint64(offset))
	}}))
}

// Trim deallocates a range on all members (Host.Trim).
func (m *Mirror) Trim(offset, length int64) error {
	return m.wrap("trim", m.change(offset, length, access{"member-trim", func(h *Host, uuid string) error {
		return h.Trim(uuid, uint64(offset), uint64(length))
	}}))
}

// change changes all members.
func (m *Mirror) change(offset, length int64, a access) error {
	members, failure := m.enter(offset, length)
	defer m.gate.leave()
	done := false
	for _, it := range members {
		if err := m.try(it, a); err != nil {
			failure = err
		} else {
			done = true
		}
	}
	if done {
		return nil
	}
	return failure
}

// enter passes the gate, which the caller has to leave, and returns the members, the one
// whose turn it is first.
func (m *Mirror) enter(offset, length int64) (members []*member, err error) {
	m.gate.enter()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.dead:
		return nil, errMirrorDead
	case !m.exists:
		return nil, errNotMade
	case offset < 0 || length < 0 || offset > int64(m.size) || length > int64(m.size)-offset:
		return nil, fmt.Errorf("%d bytes at %d are beyond the end at %d: %w", length, offset, m.size, ports.ErrInvalid)
	}
	m.turn++
	for i := range m.members {
		if it := m.members[(m.turn+i)%len(m.members)]; it.lost == nil {
			members = append(members, it)
		}
	}
	return members, nil
}

// try accesses a member until that works or the member is dropped. The last member is
// not dropped: then it returns the error.
func (m *Mirror) try(it *member, a access) error {
	for {
		err := m.access(it, a)
		m.mu.Lock()
		if err == nil || it.lost != nil {
			it.failing = time.Time{}
			if it.lost != nil {
				err = it.lost // the access may have worked, but does not count
			}
			m.mu.Unlock()
			return err
		}
		left := m.config.DropAfter - since(&it.failing)
		if left <= 0 || !errors.Is(err, ports.ErrUnavailable) {
			m.drop(it, err)
			m.mu.Unlock()
			return err
		}
		m.mu.Unlock()
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-it.over:
			timer.Stop()
		}
	}
}

// access accesses a member once.
func (m *Mirror) access(it *member, a access) error {
	fault := m.faults.next(Call{Method: a.method, UUID: it.uuid, Name: it.name()})
	if err := fault.wait(context.Background()); err != nil {
		return err
	}
	if fault.Kill || fault.Restart {
		m.Kill()
	}
	if fault.Before != nil {
		return fault.Before
	}
	if err := it.reach(); err != nil {
		return err
	}
	it.host.awaitQuiet(it.uuid)
	if err := a.do(it.host, it.uuid); err != nil {
		return err
	}
	return fault.After
}
