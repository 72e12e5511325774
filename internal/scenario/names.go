package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

// The hosts' limits of names in bytes: the source is always a fork, the destination may
// be upstream SPDK.
const (
	forkNameLimit     = 255
	upstreamNameLimit = 63
)

func (s *Scenario) sourceReplica() string {
	return cmp.Or(s.Source.Replica, s.Volume.Name+"-r-1")
}

func (s *Scenario) destinationReplica() string {
	return cmp.Or(s.Destination.Replica, s.Volume.Name+"-r-2")
}

// checkName checks the length of a name, then the rest by a function of the domain. The
// error is one short line.
func checkName(name string, check func(string) error) error {
	if len(name) > forkNameLimit {
		return fmt.Errorf("expected a name of at most %d bytes, got %s with %d", forkNameLimit, quote(name), len(name))
	}
	if err := check(name); err != nil {
		return errors.New(shorten(err.Error(), name))
	}
	return nil
}

func checkSnapshotName(name string) error {
	return checkName(name, domain.CheckSnapshotName)
}

// checkLvolName allows all names that a store would: in-flight names, those of images and
// of other features. It refuses only names that messages cannot show.
func checkLvolName(name string) error {
	return checkName(name, func(name string) error {
		odd := func(r rune) bool { return r == ' ' || r == buildingPrefix || !strconv.IsPrint(r) }
		switch {
		case name == NoParent:
			return fmt.Errorf("lvol name %q: it is reserved for \"no parent\"", name)
		case name == "" || strings.ContainsFunc(name, odd):
			return fmt.Errorf("lvol name %q: expected printable characters without spaces and %c", name, buildingPrefix)
		}
		return nil
	})
}

// checkImageUUID allows full UUIDs and the short ones of Longhorn.
func checkImageUUID(uuid string) error {
	const most = 64
	odd := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(uuid) > most || strings.ContainsFunc(uuid, odd) {
		return fmt.Errorf("expected at most %d letters, digits and '-', got %s", most, quote(uuid))
	}
	return nil
}
