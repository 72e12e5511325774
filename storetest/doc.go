// Package storetest is the contract of a host as tests. Every adapter passes
// it, ours over memory, over a simulated target and over a real one; a
// behaviour found on a real target becomes a case here first.
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
// A few lvols of a few clusters suffice for every test, so that real targets
// can run it: a store of 64 clusters of 1 MiB is enough, and small enough for
// the tests that fill one. A host that proves or records nothing, cannot be
// restarted, or has no limit for names skips what is about that.
//
// It is meant for tests only: it imports testing.
package storetest
