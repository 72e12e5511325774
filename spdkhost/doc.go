// Package spdkhost has hosts over SPDK targets: one lvstore of one target,
// spoken to by JSON-RPC on its unix socket. The target may be Longhorn's
// branch, which has maps, checksums and attributes, or upstream SPDK, which has
// none of them; the target's own list of methods tells which.
//
//	host, err := spdkhost.Open(ctx, spdkhost.Config{Socket: "/var/tmp/spdk.sock", Lvstore: "disk-1"})
//	if err != nil {
//		return err
//	}
//	defer host.Close()
//
// Data goes from target to target by NVMe over TCP, not through this process:
// the one that receives listens on an address and ports of Config.Listen, which
// the other has to reach.
package spdkhost
