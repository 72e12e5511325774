package facts

// live are of a RAID over heads of other targets, one of which is being rebuilt. How targets behave under
// load stands in live.md.
var live = []fact{
	{"a head that is exported and a base of another target's RAID can be frozen, written to, and renamed", `
		create a 4
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456700
		B: create b 4
		B: attach ~c NQN A => ["~cn1"]
		B: raid ~r ~cn1 @b => true
		B: write ~r 0 A
		snapshot a s => any
		B: write ~r 1 B
		rename a h => true
		B: write ~r 2 C
		B: view ~r => "ABC0"
		B: bdev_raid_delete name=~r
		B: unattach ~c
		drop NQN
		view s => "A000"
		view h => "ABC0"
		B: view b => "ABC0"
	`},
	{"a live head over a cut of the source, which joins, and is grafted onto its own copy", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN-cut 1
		listen NQN-cut
		serve NQN-cut @cut abcdef0123456789abcdef0123456701 => 1
		B: attach ~cut NQN-cut A => ["~cutn1"]
		B: external ~cutn1 h
		B: show ~cutn1 => {"claimed": true, "claim_type": "read_many_write_none"}
		B: show @h => {"esnap_clone": true, "num_allocated_clusters": 0, "external_snapshot_name": "abcdef01-2345-6789-abcd-ef0123456701"}
		B: subsystem NQN-live
		B: listen NQN-live
		B: export NQN-live h 1 abcdef0123456789abcdef0123456702
		attach ~live NQN-live B => ["~liven1"]
		raid ~r @a ~liven1 => true
		write ~r 1 B
		view ~r => "AB00"
		B: create x 4
		B: write x 0 A
		B: snapshot x copy
		B: set_parent h copy => true
		B: show @h => {"esnap_clone": false, "base_snapshot": "copy", "num_allocated_clusters": 1}
		B: show ~cutn1 => {"claimed": false}
		B: bdev_lvol_set_parent_bdev lvol_name=@h parent_name=~cutn1 => true
		B: show @h => {"esnap_clone": true, "base_snapshot": null}
		B: bdev_lvol_set_parent_bdev lvol_name=@h parent_name=~cutn1 => -32602 File exists
		B: bdev_lvol_set_parent_bdev lvol_name=@h parent_name=~none => -32602 No such device
		B: bdev_lvol_set_parent_bdev lvol_name=@none parent_name=~cutn1 => -19 No such device
		B: bdev_lvol_set_parent_bdev lvol_name=@h parent_name=@h => -32602 Invalid argument
		B: set_parent h copy => true
		B: unattach ~cut => true
		write ~r 2 C
		bdev_raid_delete name=~r
		unattach ~live
		B: drop NQN-live
		drop NQN-cut
		view a => "ABC0"
		B: view h => "ABC0"
	`},
	{"a live head that is exported before the cut, and is grafted onto it while nobody reads", `
		create a 4
		write a 0 A
		B: create h 4
		B: subsystem NQN-live
		B: listen NQN-live
		B: export NQN-live h 1 abcdef0123456789abcdef0123456714
		attach ~live NQN-live B => ["~liven1"]
		cut NQN-cut 1
		listen NQN-cut
		B: attach ~cut NQN-cut A => []
		snapshot a cut
		serve NQN-cut @cut abcdef0123456789abcdef0123456715 => 1
		B: settle ~cutn1
		B: bdev_wait_for_examine
		B: bdev_lvol_set_parent_bdev lvol_name=@h parent_name=~cutn1 => true
		B: show @h => {"esnap_clone": true, "external_snapshot_name": "abcdef01-2345-6789-abcd-ef0123456715"}
		raid ~r @a ~liven1 => true
		write ~r 1 B
		view ~r => "AB00"
		bdev_raid_delete name=~r
		B: view h => "AB00"
		unattach ~live
		B: drop NQN-live
		B: delete h => true
		B: unattach ~cut
		drop NQN-cut
	`},
	{"a member whose lvstore is full is dropped when a write to it fails, and the others serve on", `
		create a 4
		thick big 63
		B: create b 4
		B: subsystem NQN
		B: listen NQN
		B: export NQN b 1 abcdef0123456789abcdef0123456716
		attach ~c NQN B => ["~cn1"]
		raid ~r @a ~cn1
		write ~r 0 A
		free => 1
		write ~r 1 B
		write ~r 2 C
		dropped ~r @a => [null, "~cn1"]
		view ~r => "ABC0"
		bdev_raid_delete name=~r
		unattach ~c
		B: drop NQN
		B: view b => "ABC0"
	`},
	{"a member whose target dies is dropped when its I/O fails, and the others serve on", `
		create a 4
		B: create b 4
		B: subsystem NQN
		B: listen NQN
		B: export NQN b 1 abcdef0123456789abcdef0123456703
		attach ~c NQN B ctrlr_loss_timeout_sec=3 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		raid ~r @a ~cn1
		write ~r 0 A
		B: kill
		bases ~r => ["@a", "~cn1"]
		write ~r 1 B
		dropped ~r ~cn1
		bases ~r => ["@a", null]
		write ~r 2 C
		view ~r => "ABC0"
		bdev_raid_delete name=~r
		view a => "ABC0"
	`},
	{"two paths to one cut: the second one takes over", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456704
		B: create b 4
		B: write b 0 A
		B: snapshot b cut
		B: cut NQN 7
		B: listen NQN
		B: serve NQN @cut abcdef0123456789abcdef0123456704
		C: attach ~c NQN B ctrlr_loss_timeout_sec=3 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 multipath=failover => ["~cn1"]
		C: attach ~c NQN A ctrlr_loss_timeout_sec=3 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 multipath=disable => -114 A controller named ~c already exists and multipath is disabled
		C: attach ~c NQN A ctrlr_loss_timeout_sec=3 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 multipath=failover => []
		C: attach ~c NQN B multipath=failover => -114 A controller named ~c already exists with the specified network path
		C: attach ~c NQN A multipath=failover => -114 Operation already in progress
		C: bdev_nvme_get_controllers name=~c => [{"ctrlrs": [{"state": "enabled", "cntlid": 7, "alternate_trids": [{"trtype": "TCP"}]}]}]
		C: external ~cn1 h
		C: view h => "A000"
		B: kill
		C: view h => "A000"
		C: write h 1 B
		C: bdev_nvme_get_controllers name=~c => [{"ctrlrs": [{"state": "enabled", "cntlid": 3}]}]
		C: create x 4
		C: write x 0 A
		C: snapshot x copy
		C: set_parent h copy => true
		C: unattach ~c => true
		C: view h => "AB00"
		C: delete h => true
		drop NQN
	`},
	{"a path whose subsystem has the namespace under another identifier is refused", `
		create a 4
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456705
		B: create b 4
		B: snapshot b cut
		B: cut NQN 7
		B: listen NQN
		B: serve NQN @cut abcdef0123456789abcdef0123456706
		C: attach ~c NQN A multipath=failover => ["~cn1"]
		C: attach ~c NQN B multipath=failover => -22 Invalid argument
		C: unattach ~c => true
		drop NQN
		B: drop NQN
	`},
	{"without a second path a live head fails", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456707
		B: attach ~c NQN A ctrlr_loss_timeout_sec=10 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		B: view h => "A000"
		kill
		B: view h => "!!!!"
		B: delete h => true
		B: unattach ~c
	`},
	{"a live head that is the last base of a RAID serves on when its source dies, until a read through it fails", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456712
		B: attach ~c NQN A ctrlr_loss_timeout_sec=10 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		B: create b 4
		B: raid ~r @b @h => true
		B: write ~r 1 B
		B: ungrow @b => true
		kill
		B: write ~r 1 C
		B: bases ~r => [null, "@h"]
		B: view ~r => any
		B: dropped ~r @h => -19 No such device
		B: delete h => true
		B: unattach ~c
	`},
	{"a RAID that grows reads the new base, and holds one that it could not read until its end", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456713
		B: attach ~c NQN A ctrlr_loss_timeout_sec=10 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		B: create b 4
		B: create x 4
		B: raid ~r @b @x => true
		B: ungrow @x
		kill
		fork: B: grow ~r @h => -32603 Input/output error
		fork: B: show @h => {"claimed": true}
		fork: B: ungrow @h => -19 Failed to remove base bdev from raid bdev
		B: bdev_raid_delete name=~r
		B: show @h => {"claimed": false}
		B: delete h => true
		B: unattach ~c
	`},
	{"once the controller of a dead source is gone, the delete of a live head over it crashes the target", `
		create a 4
		write a 0 A
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456707
		B: attach ~c NQN A ctrlr_loss_timeout_sec=3 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		kill
		B: settle -~cn1
		B: delete h => dies
	`},
	{"a destination given up with a dead source, before I/O has failed", `
		create a 4
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456711
		B: create b 4
		B: create x 4
		B: snapshot x any
		B: attach ~c NQN A ctrlr_loss_timeout_sec=5 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		B: raid ~r @b @h => true
		kill
		B: ungrow @h => true
		B: bases ~r => ["@b", null]
		B: set_parent h any => true
		B: delete h => true
		B: unattach ~c
		B: bdev_raid_delete name=~r
	`},
	{"a destination given up with a dead source, after I/O has failed", `
		create a 4
		snapshot a cut
		cut NQN 1
		listen NQN
		serve NQN @cut abcdef0123456789abcdef0123456708
		B: create b 4
		B: create x 4
		B: snapshot x any
		B: attach ~c NQN A ctrlr_loss_timeout_sec=5 reconnect_delay_sec=1 fast_io_fail_timeout_sec=1 => ["~cn1"]
		B: external ~cn1 h
		B: raid ~r @b @h => true
		kill
		B: write ~r 0 B
		B: dropped ~r @h
		B: bases ~r => ["@b", null]
		B: set_parent h any => true
		B: delete h => true
		B: unattach ~c => any
		B: view ~r => "B000"
		B: bdev_raid_delete name=~r
	`},
	{"a source dies under load, and the live head is grafted in a freeze", `
		create a 8
		subsystem NQN-a
		listen NQN-a
		serve NQN-a @a abcdef0123456789abcdef0123456720
		C: attach ~a NQN-a A ctrlr_loss_timeout_sec=4 reconnect_delay_sec=1 fast_io_fail_timeout_sec=2
		B: create b 8
		B: subsystem NQN-b
		B: listen NQN-b
		B: export NQN-b b 1 abcdef0123456789abcdef0123456721
		C: attach ~b NQN-b B ctrlr_loss_timeout_sec=4 reconnect_delay_sec=1 fast_io_fail_timeout_sec=2
		C: raid ~r ~an1 ~bn1
		C: fill ~r 8 F
		snapshot a cut
		cut NQN-cut 1
		listen NQN-cut
		serve NQN-cut @cut abcdef0123456789abcdef0123456722
		B: snapshot b cut
		B: cut NQN-cut 7
		B: listen NQN-cut
		B: serve NQN-cut @cut abcdef0123456789abcdef0123456722
		C: attach ~cut NQN-cut A ctrlr_loss_timeout_sec=4 reconnect_delay_sec=1 fast_io_fail_timeout_sec=2 multipath=failover
		C: attach ~cut NQN-cut B ctrlr_loss_timeout_sec=4 reconnect_delay_sec=1 fast_io_fail_timeout_sec=2 multipath=failover
		C: external ~cutn1 h
		C: bdev_raid_delete name=~r
		C: bdev_raid_create name=~r raid_level=raid1 base_bdevs=["~an1","~bn1","@h"] => true
		C: nvmf_create_subsystem nqn=NQN-vol allow_any_host=true ana_reporting=true
		C: listen NQN-vol
		C: serve NQN-vol ~r abcdef0123456789abcdef0123456723
		C: create c 8
		C: fill c 8 F
		C: snapshot c copy
		C: create other 1
		C: load NQN-vol F
		kill
		C: dropped ~r ~an1
		C: bases ~r => [null, "~bn1", "@h"]
		C: ana NQN-vol inaccessible
		C: nvmf_subsystem_add_ns nqn=NQN-vol namespace={"bdev_name":"@other","nsid":1} => -32602 Invalid parameters
		C: set_parent h copy => true
		C: ana NQN-vol optimized
		C: unattach ~cut => true
		C: bases ~r => [null, "~bn1", "@h"]
		C: unload
		C: drop NQN-vol
		C: bdev_raid_delete name=~r
		C: unattach ~b
		B: drop NQN-b
		B: drop NQN-cut
	`},
	{"ANA states", `
		create a 4
		nvmf_create_subsystem nqn=NQN allow_any_host=true ana_reporting=true
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456709
		create b 4
		B: attach ~c NQN A => ["~cn1"]
		ana NQN inaccessible => true
		ana NQN inaccessible => true
		export NQN b 1 abcdef0123456789abcdef0123456710 => -32602 Invalid parameters
		B: bdev_nvme_get_controllers name=~c => [{"ctrlrs": [{"state": "enabled"}]}]
		ana NQN non_optimized => true
		ana NQN optimized => true
		ana NQN change => -32602 Invalid parameters
		B: unattach ~c
		drop NQN
		subsystem NQN
		listen NQN
		ana NQN inaccessible => -32603 error setting ANA state: -22
		nvmf_subsystem_listener_set_ana_state nqn=NQN listen_address={"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"1"} ana_state=optimized => -32603 error setting ANA state: -22
		drop NQN
		nvmf_create_subsystem nqn=NQN min_cntlid=7 max_cntlid=3 => -32602 Invalid cntlid range [7-3]
		nvmf_create_subsystem nqn=NQN min_cntlid=0 => -32602 Invalid cntlid range [0-65519]
		nvmf_get_subsystems nqn=NQN => -19 No such device
	`},
}
