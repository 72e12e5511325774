// Package raid is a mirror on a RAID1 bdev of an SPDK target: the bases of the RAID are
// the heads of replicas, local lvols or lvols of other targets, over NVMe/TCP.
//
// The Longhorn branch adds a base to a RAID by a call. Upstream SPDK lacks it: there the
// RAID is deleted in the freeze and made again over all heads, with the same UUID, and
// exported again with the same IDs (recreate.go).
package raid
