package scenario

import "strings"

// setParent sets the parent of an lvol by name; "" is the default.
func (l *layout) setParent(s *Scenario, child int, given string, byDefault int) (err error) {
	parent := byDefault
	switch given {
	case "":
	case NoParent:
		parent = noLvol
	default:
		parent, err = l.find(s, child, given)
	}
	l.lvols[child].parent = parent
	return err
}

// find finds a parent: a snapshot by its short name, any other lvol by its full name.
func (l *layout) find(s *Scenario, child int, parent string) (int, error) {
	field := l.lvols[child].field + ".parent"
	snapshot, isSnapshot := l.snapshots[parent]
	other, isOther := l.others[parent]
	switch {
	case isSnapshot && isOther:
		return 0, s.errorAt(field, "expected a unique name, but %s is both %s and %s", quote(parent), l.lvols[snapshot].field, l.lvols[other].field)
	case isSnapshot:
		return snapshot, nil
	case !isOther:
		return 0, s.errorAt(field, "expected %s, got %s", l.parents, quote(parent))
	case !l.lvols[other].readOnly:
		return 0, s.errorAt(field, "expected a snapshot, but %s is a writable lvol", l.lvols[other].field)
	}
	return other, nil
}

// sort orders parents before children and refuses cycles. Trees may be a hundred thousand
// snapshots deep, so it does not recurse.
func (l *layout) sort(s *Scenario) error {
	const (
		unseen = iota
		visiting
		done
	)
	state := make([]byte, len(l.lvols))
	var path []int
	for start := range l.lvols {
		path = path[:0]
		for at := start; at != noLvol && state[at] != done; at = l.lvols[at].parent {
			if state[at] == visiting {
				return s.errorAt(l.lvols[at].field+".parent", "expected parents without a cycle, got %s", l.describeCycle(at))
			}
			state[at] = visiting
			path = append(path, at)
		}
		for i := len(path) - 1; i >= 0; i-- {
			state[path[i]] = done
			l.order = append(l.order, path[i])
		}
	}
	return nil
}

// describeCycle describes a cycle with its start at both ends, cut off if it is long.
func (l *layout) describeCycle(start int) string {
	const limit = 4
	text := strings.Builder{}
	text.WriteString(quote(l.lvols[start].label))
	for i, at := 0, l.lvols[start].parent; ; i, at = i+1, l.lvols[at].parent {
		if i == limit {
			text.WriteString(" -> …")
			return text.String()
		}
		text.WriteString(" -> " + quote(l.lvols[at].label))
		if at == start {
			return text.String()
		}
	}
}
