// Package spdkhost has hosts on SPDK targets. A host is one lvstore of one target, which it
// controls by JSON-RPC over the target's unix socket. The target may be Longhorn's branch
// of SPDK, which has cluster maps, checksums and attributes, or upstream SPDK, which has
// none of them: Open asks the target which methods it has.
//
//	host, err := spdkhost.Open(ctx, spdkhost.Config{Socket: "/var/tmp/spdk.sock", Lvstore: "disk-1"})
//	if err != nil {
//		return err
//	}
//	defer host.Close()
//
// Targets send data to each other over NVMe/TCP, not through this process. The receiving
// target listens on an address and ports of Config.Listen, which the sending one must
// reach. Config.Ports takes the caller's own allocator of ports, and Config.HostNQNs the
// NQNs by which targets and this process connect.
//
// OpenMirror has a volume that is a RAID1 bdev of a target, for rebuilds while clients use
// it. Its Suspend and Resume make a freezer, freezer.Func(mirror.Suspend, mirror.Resume), if
// the RAID is exported by a subsystem with ANA reporting.
//
// Config.Logger is a zap logger; rebuild.ZapFromSlog makes one of a slog logger.
package spdkhost
