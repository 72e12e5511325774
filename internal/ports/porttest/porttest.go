// Package porttest is the contract of a host as tests. Every adapter passes it. A
// behaviour that is found on a real target becomes a test here first.
//
// Each test needs a few lvols of a few clusters, so that real targets can run it: a
// store of 64 clusters of 1 MiB is enough.
package porttest

import (
	"testing"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Harness creates hosts to test.
type Harness struct {
	// NewHosts creates n hosts without lvols that can send to each other and have the
	// same cluster size. They are removed when the test ends.
	NewHosts func(t *testing.T, n int) []Instance

	// NewMirror makes a mirror over these heads of these hosts, which are equal, until the
	// test ends. If it is nil, those tests are skipped.
	NewMirror func(t *testing.T, hosts []Instance, heads []string) Mirrored

	// NewMaker opens a mirror that does not exist, for heads of these hosts. If it is nil,
	// those tests are skipped.
	NewMaker func(t *testing.T, hosts []Instance) ports.Mirror

	// Parallel says that tests may run at the same time.
	Parallel bool
}

// Instance is a host with the functions that the tests need besides its ports. A
// function that fails ends the test.
type Instance struct {
	Host ports.Host

	// Write writes bytes into a writable lvol. Offset and length are whole
	// clusters.
	Write func(t *testing.T, uuid string, p []byte, offset uint64)

	// Read fills p with the bytes that a reader of the lvol sees, writable or not, and
	// leaves nothing on the store. Offset and length are whole clusters.
	Read func(t *testing.T, uuid string, p []byte, offset uint64)

	// CloneExternal creates a writable lvol of that name that reads through to a bdev
	// outside of the store with that content, which is whole clusters. A Restart loses
	// the bdev. If it is nil, those tests are skipped.
	CloneExternal func(t *testing.T, name string, content []byte) (uuid string)

	// Restart kills the target of the host, starts it again, and returns when Host
	// answers. If it is nil, those tests are skipped.
	Restart func(t *testing.T)

	// Use uses an lvol as described by user, in the role of another program, until end
	// is called, and returns the user as the host must list it: with a name. UserClaim
	// is used with snapshots only. If it is nil, those tests are skipped.
	Use func(t *testing.T, uuid string, user domain.User) (listed domain.User, end func())
}

// test checks one behaviour, named by a sentence.
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

func (h Harness) run(t *testing.T, test test) {
	if h.Parallel {
		t.Parallel()
	}
	test.run(t, newSubjects(t, h, test.hosts))
}

// Run tests that a host fulfils the contract of its ports.
func Run(t *testing.T, h Harness) {
	runTopics(t, h, []topic{
		{"list", listTests},
		{"names", nameTests},
		{"create", createTests},
		{"snapshot", snapshotTests},
		{"seal", sealTests},
		{"graft", graftTests},
		{"entry point", entryPointTests},
		{"prepare", prepareTests},
		{"clone", cloneTests},
		{"external", externalTests},
		{"live", liveTests},
		{"record", recordTests},
		{"delete", deleteTests},
		{"merge", mergeTests},
		{"rename", renameTests},
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
	})
	RunMirror(t, h)
}

// RunMirror tests that a mirror over heads of hosts, and a freezer of its clients, fulfil the
// contract of their ports. Run includes it.
func RunMirror(t *testing.T, h Harness) {
	runTopics(t, h, []topic{
		{"mirror", mirrorTests},
		{"maker", makerTests},
		{"freezer", freezerTests},
	})
}

// topic is a group of tests.
type topic struct {
	name  string
	tests []test
}

func runTopics(t *testing.T, h Harness, topics []topic) {
	t.Cleanup(func() { requireUnchanged(t) })
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) {
			for _, test := range topic.tests {
				t.Run(test.name, func(t *testing.T) { h.run(t, test) })
			}
		})
	}
}
