// Package storetest is the contract of a host as tests. Every adapter has to pass it: the
// one in memory does, and the SPDK adapter does on simulated and real targets. Behaviour
// that is found on a real target becomes a test here first.
//
//	func TestHost(t *testing.T) {
//		storetest.Run(t, storetest.Harness{NewHosts: func(t *testing.T, n int) []storetest.Instance {
//			instances := make([]storetest.Instance, n)
//			for i := range instances {
//				h := newHost(t)
//				instances[i] = storetest.Instance{Host: h, Write: h.write, Read: h.read}
//			}
//			return instances
//		}})
//	}
//
// Every test needs a few lvols of a few clusters, so that real targets can run it: a store
// of 64 clusters of 1 MiB is large enough, and small enough for the tests that fill one.
// Tests of optional abilities (proofs, records, restarts, a limit for names) are skipped
// for hosts without them.
//
// It is meant for tests only: it imports testing.
package storetest
