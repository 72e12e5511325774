package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rootgraft/rebuild/internal/domain"
)

// What the hosts take, in bytes: the source is always a fork, the destination
// may be an upstream one.
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

// checkName has the domain check a name that may be of any length, and says
// what is wrong in one short line.
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

// checkLvolName lets pass what a store would: names in flight, of images, of
// other features. Only what no message could show is refused.
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

// checkImageUUID lets pass a UUID in full, and the short ones of Longhorn.
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
