package main

import (
	"strings"
	"testing"

	"github.com/rootgraft/rebuild/storetest"
)

// TestHost checks the host against the contract of the engine.
func TestHost(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Parallel: true,
		NewHosts: func(_ *testing.T, n int) []storetest.Instance {
			rack := newRack()
			instances := make([]storetest.Instance, n)
			for i := range instances {
				h := rack.newHost("disk", 64)
				instances[i] = storetest.Instance{Host: h, Write: clusterwise(h.write), Read: clusterwise(h.read)}
			}
			return instances
		},
	})
}

// clusterwise reads or writes several clusters.
func clusterwise(one func(uuid string, p []byte, offset uint64) error) func(*testing.T, string, []byte, uint64) {
	return func(t *testing.T, uuid string, p []byte, offset uint64) {
		t.Helper()
		for at := 0; at < len(p); at += clusterSize {
			if err := one(uuid, p[at:at+clusterSize], offset+uint64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRun rebuilds over two of these hosts.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the parent of monday is backing-image:base\n", "the parent of tuesday is monday\n", "complete, 12288 bytes copied\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
