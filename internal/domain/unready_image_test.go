package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Longhorn gives a backing image whose download has failed its final name and the
// checksum that it should have had; only its recorded state shows it.
func TestUnfinishedImageRefused(t *testing.T) {
	newFixture := func(t *testing.T) fixture {
		return parseFixture(t, "source\n  image:base\n    s1 own=a/1\n      head\ndestination\n  image:base\n    s1 own=a/1\n      head\n")
	}
	fail := func(s Listing) {
		for i := range s.Lvols {
			if strings.HasPrefix(s.Lvols[i].Name, "bi-base-") {
				s.Lvols[i].Image.Unready = "failed"
			}
		}
	}
	t.Run("on the destination", func(t *testing.T) {
		s := newFixture(t)
		fail(s.destination)
		_, err := s.plan()
		requireRefusal(t, err, "failed", "disk-b")
		violations := s.violations(t, ImageBase("base"))
		require.NotEmpty(t, violations)
		require.Equal(t, RuleImage, violations[0].Rule)
		require.Contains(t, violations[0].Detail, "failed")
	})
	t.Run("on the source", func(t *testing.T) {
		s := newFixture(t)
		fail(s.source)
		_, err := s.plan()
		requireRefusal(t, err, "failed", "disk-a")
	})
	t.Run("in an audit", func(t *testing.T) {
		s := newFixture(t)
		fail(s.destination)
		r, err := NewReplica(s.destination, destinationReplica)
		require.NoError(t, err)
		audit := Audit(r, ImageBase("base"))
		require.Len(t, audit.Violations, 1)
		require.Contains(t, audit.Violations[0].Detail, "failed")
	})
	t.Run("for a new replica", func(t *testing.T) {
		s := newFixture(t)
		fail(s.destination)
		_, err := s.destination.baseFor(ImageBase("base"), 1<<40)
		requireRefusal(t, err, "failed", "disk-b")
	})
}
