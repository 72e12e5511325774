// Package nvmetcp reads and writes namespaces over NVMe/TCP in user space: a
// small host (initiator), so that nothing needs a kernel's.
//
// It speaks what SPDK speaks: NVMe over Fabrics 1.1 with the NVMe/TCP transport
// 1.0, one admin queue and one I/O queue, neither digests nor TLS nor
// authentication.
package nvmetcp
