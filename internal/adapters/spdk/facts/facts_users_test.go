package facts

// users are those who have an lvol besides its lvstore.
var users = []fact{
	{"a base of a RAID is claimed, and listed with the RAID", `
		create a 8
		create b 8
		create c 8
		write a 1 A
		raid ~r @a @b => true
		show @a => {"claimed": true, "claim_type": "exclusive_write"}
		bdev_raid_get_bdevs category=all => [{"name": "~r", "raid_level": "raid1", "state": "online", "num_base_bdevs": 2, "num_base_bdevs_discovered": 2, "num_base_bdevs_operational": 2, "superblock": false, "base_bdevs_list": [{"name": "@a", "is_configured": true, "data_offset": 0, "data_size": 2048}, {"name": "@b", "is_configured": true}]}]
		bdev_raid_get_bdevs category=online => [{"name": "~r"}]
		bdev_raid_get_bdevs category=offline => []
		show ~r => {"num_blocks": 2048, "product_name": "Raid Volume", "claimed": false}
		bdev_raid_delete name=~r => true
		show @a => {"claimed": false}
		view a => "0A000000"
	`},
	{"refusals of a RAID", `
		create a 8
		create b 8
		create c 8
		raid ~r @a @b => true
		raid ~r @c @b => -17 Failed to create RAID bdev ~r: File exists
		raid ~q @c @a => -1 Failed to create RAID bdev ~q: Operation not permitted
		raid ~q @c @c => -1 Failed to create RAID bdev ~q: Operation not permitted
		show @c => {"claimed": false}
		upstream: bdev_raid_create name=~q raid_level=raid1 base_bdevs=["@c"] => -22 Failed to create RAID bdev ~q: Invalid argument
		fork: bdev_raid_create name=~q raid_level=raid1 base_bdevs=["@c"] => true
		fork: bdev_raid_delete name=~q => true
		bdev_raid_create name=~q raid_level=foo base_bdevs=["@c"] => -32700 spdk_json_decode_object failed
		bdev_raid_get_bdevs => -32700 spdk_json_decode_object failed
		bdev_raid_get_bdevs category=foo => -22 Invalid argument
		subsystem NQN
		export NQN a 1 abcdef0123456789abcdef0123456780 => -32602 Invalid parameters
		drop NQN
		bdev_raid_delete name=~r => true
		bdev_raid_delete name=~r => -19 raid bdev ~r not found
	`},
	{"a base of a RAID can be frozen, and deleted: the RAID goes with its last one", `
		create a 8
		create b 8
		raid ~r @a @b => true
		snapshot a s
		show @s => {"claimed": false}
		show @a => {"claimed": true, "base_snapshot": "s"}
		delete a => true
		bdev_raid_get_bdevs category=all => [{"name": "~r", "state": "online", "num_base_bdevs": 2, "num_base_bdevs_discovered": 1, "num_base_bdevs_operational": 1, "base_bdevs_list": [{"is_configured": false, "uuid": "00000000-0000-0000-0000-000000000000"}, {"name": "@b", "is_configured": true}]}]
		delete b => true
		bdev_raid_get_bdevs category=all => []
	`},
	{"an exported lvol that another target is attached to can be deleted", `
		create a 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456781
		B: create b 8
		B: attach ~c NQN A => ["~cn1"]
		B: raid ~r ~cn1 @b => true
		delete a => true
		rpc_get_methods
		B: settle -~cn1
		B: bdev_raid_delete name=~r
		drop NQN
		B: unattach ~c
	`},
	{"one that its own target is attached to can be frozen, and deleted once that is over", `
		create a 8
		create b 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456782
		attach ~c NQN A => ["~cn1"]
		raid ~r ~cn1 @b => true
		snapshot a s
		show @a => {"claimed": true, "claim_type": "exclusive_write"}
		drop NQN => true
		delete a => true
		rpc_get_methods
		bdev_raid_delete name=~r => any
		unattach ~c
	`},
	{"one whose controller was detached first can be deleted", `
		create a 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456783
		attach ~c NQN A => ["~cn1"]
		unattach ~c => true
		delete a => true
		rpc_get_methods
		drop NQN
	`},
	{"deleted under a controller of its own target, it hangs that for good", `
		create a 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456784
		attach ~c NQN A => ["~cn1"]
		delete a => true or no answer
		rpc_get_methods => no answer
	`},
	{"a snapshot that is deleted so hangs it, too", `
		create a 8
		snapshot a s
		subsystem NQN
		listen NQN
		export NQN s 1 abcdef0123456789abcdef0123456785
		show @s => {"claimed": true, "claim_type": "exclusive_write"}
		attach ~c NQN A => ["~cn1"]
		delete a
		delete s => true or no answer
		rpc_get_methods => no answer
	`},
	{"an lvol under a RAID of its own target hangs it, too", `
		create a 8
		create b 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456786
		attach ~c NQN A => ["~cn1"]
		raid ~r ~cn1 @b => true
		delete a => true or no answer
		rpc_get_methods => no answer
	`},
	{"a namespace that is removed under a controller of its own target hangs that, too", `
		create a 8
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456787
		attach ~c NQN A => ["~cn1"]
		withdraw NQN 1 => true or no answer
		rpc_get_methods => no answer
	`},
	{"the delete of what an esnap clone of another lvstore reads never ends", `
		create a 8
		snapshot a s
		delete a
		file ~f 16 0
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~l cluster_sz=1048576
		bdev_lvol_clone_bdev bdev=@s lvs_name=~l clone_name=e
		show @s => {"claimed": true, "claim_type": "read_many_write_none"}
		delete s => no answer
		show @s => -19 No such device
		lvol s => {"is_degraded": false}
		bdev_lvol_delete name=~l/e => dies
	`},
}
