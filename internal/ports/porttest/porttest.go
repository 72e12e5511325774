// Package porttest is the contract of a host as tests. Every adapter passes
// it; a behaviour found on a real target becomes a case here first.
//
// A few lvols of a few clusters suffice for every test, so that real targets
// can run it: a store of 64 clusters of 1 MiB is enough.
package porttest

import (
	"testing"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Harness makes hosts to test.
type Harness struct {
	// NewHosts makes n hosts without lvols that can send to each other and
	// have the same cluster size. They are gone when the test ends.
	NewHosts func(t *testing.T, n int) []Instance

	// Parallel says that tests may run at the same time.
	Parallel bool
}

// Instance is a host, and what the tests need besides its ports. Its functions
// end the test where they cannot do what they are asked to.
type Instance struct {
	Host ports.Host

	// Write puts bytes into a writable lvol. Offset and length are whole
	// clusters.
	Write func(t *testing.T, uuid string, p []byte, offset uint64)

	// Read fills p from the view of an lvol, writable or not, and leaves
	// nothing on the store. Offset and length are whole clusters.
	Read func(t *testing.T, uuid string, p []byte, offset uint64)

	// CloneExternal makes a writable lvol of that name that reads through to a bdev
	// outside of the store, of that content, which is whole clusters. A Restart loses the
	// bdev. nil where there is no such thing: those tests are skipped.
	CloneExternal func(t *testing.T, name string, content []byte) (uuid string)

	// Restart kills what stores the lvols, starts it again, and returns when
	// Host answers. nil where there is no such thing: those tests are skipped.
	Restart func(t *testing.T)

	// Use has somebody other than an engine of this project use an lvol in the way of
	// user, until end is called, and returns that user as the host is to list it: with
	// a name. UserClaim is used with snapshots only. nil where an lvol has no other
	// users: those tests are skipped.
	Use func(t *testing.T, uuid string, user domain.User) (listed domain.User, end func())
}

// test is one behaviour, named by a sentence.
type test struct {
	name  string
	hosts int
	run   func(t *testing.T, hosts []*subject)
}

// alone is a test of one host.
func alone(name string, run func(t *testing.T, h *subject)) test {
	return test{name, 1, func(t *testing.T, hosts []*subject) { run(t, hosts[0]) }}
}

// between is a test of a host that sends and one that receives.
func between(name string, run func(t *testing.T, from, to *subject)) test {
	return test{name, 2, func(t *testing.T, hosts []*subject) { run(t, hosts[0], hosts[1]) }}
}

// Run tests that a host keeps the contract of its ports.
func Run(t *testing.T, h Harness) {
	topics := []struct {
		name  string
		tests []test
	}{
		{"list", listTests},
		{"names", nameTests},
		{"create", createTests},
		{"snapshot", snapshotTests},
		{"seal", sealTests},
		{"graft", graftTests},
		{"prepare", prepareTests},
		{"clone", cloneTests},
		{"external", externalTests},
		{"record", recordTests},
		{"delete", deleteTests},
		{"merge", mergeTests},
		{"copy", copyTests},
		{"receive", receiveTests},
		{"prove", proveTests},
		{"claim", claimTests},
		{"use", useTests},
		{"open", openTests},
		{"limit", limitTests},
		{"at once", atOnceTests},
		{"cancelled", cancelledTests},
		{"restart", restartTests},
	}
	t.Cleanup(func() { requireUnchanged(t) })
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) {
			for _, test := range topic.tests {
				t.Run(test.name, func(t *testing.T) {
					if h.Parallel {
						t.Parallel()
					}
					test.run(t, newSubjects(t, h, test.hosts))
				})
			}
		})
	}
}
