package facts

var mirrors = []fact{
	{"a RAID without a superblock keeps what its bases hold, and writes to all", `
		create a 4
		write a 0 A
		snapshot a s
		clone s b
		bdev_raid_create name=~r raid_level=raid1 base_bdevs=["@a","@b"] superblock=false uuid=6c1e3c5a-1111-4222-8333-444455556666 => true
		show ~r => {"uuid": "6c1e3c5a-1111-4222-8333-444455556666", "num_blocks": 1024}
		write ~r 1 B
		view ~r => "AB00"
		bdev_raid_delete name=~r => true
		view a => "AB00"
		view b => "AB00"
		raid ~r @a @b => true
		view ~r => "AB00"
		bdev_raid_delete name=~r => true
	`},
	{"a deallocated cluster is given back where the lvol has no parent, else it stays", `
		create a 4
		write a 0 A
		write a 1 B
		trim a 0
		trim a 3
		show @a => {"num_allocated_clusters": 1}
		view a => "0B00"
		snapshot a s
		write a 1 C
		trim a 0
		trim a 1
		show @a => {"num_allocated_clusters": 1}
		view a => "0C00"
		thick b 2
		write b 0 A
		write b 1 B
		trim b 0
		show @b => {"num_allocated_clusters": 2}
		view b => "AB"
	`},
	{"a deallocation reaches all bases of a RAID", `
		create a 4
		create b 4
		raid ~r @a @b
		write ~r 0 A
		write ~r 1 B
		trim ~r 0
		show @a => {"num_allocated_clusters": 1}
		show @b => {"num_allocated_clusters": 1}
		bdev_raid_delete name=~r
		view a => "0B00"
		view b => "0B00"
	`},
	{"a RAID grows by a base that is a full member at once", `
		create a 4
		create b 4
		raid ~r @a @b
		write ~r 0 A
		snapshot a s
		clone s c
		upstream: grow ~r @c => -32601 Method not found
		fork: grow ~r @c => true
		fork: bases ~r => ["@a", "@b", "@c"]
		fork: write ~r 1 B
		fork: bdev_raid_get_bdevs category=all => [{"num_base_bdevs": 3, "num_base_bdevs_discovered": 3, "num_base_bdevs_operational": 3, "process": null}]
		fork: ungrow @a => true
		fork: ungrow @b => true
		fork: bases ~r => [null, null, "@c"]
		fork: view ~r => "AB00"
		bdev_raid_delete name=~r => true
		fork: view c => "AB00"
	`},
	{"what a RAID refuses to grow by", `
		create a 4
		create b 4
		create c 4
		create small 3
		create large 5
		raid ~r @a @b
		fork: grow ~q @c => -19 raid bdev ~q not found
		fork: grow ~r @none => -19 base bdev @none not found
		fork: grow ~r @a => true
		subsystem NQN
		export NQN c 1 abcdef0123456789abcdef0123456790
		fork: grow ~r @c => -32603 Operation not permitted
		fork: bases ~r => ["@a", "@b", null]
		drop NQN
		fork: grow ~r @c => true
		fork: bases ~r => ["@a", "@b", "@c"]
		fork: grow ~r @large => true
		fork: grow ~r @small => any
		bdev_raid_delete name=~r => true
	`},
	{"a base that is removed leaves an empty slot, which the next one fills", `
		create a 4
		create b 4
		create c 4
		raid ~r @a @b
		ungrow @c => -19 Failed to remove base bdev from raid bdev
		ungrow @none => -19 Failed to remove base bdev from raid bdev
		ungrow @a => true
		ungrow @a => -19 Failed to remove base bdev from raid bdev
		bases ~r => [null, "@b"]
		show @a => {"claimed": false}
		fork: grow ~r @c => true
		fork: bases ~r => ["@c", "@b"]
		fork: ungrow @c => true
		ungrow @b => true
		bases ~r => -19 No such device
	`},
	{"a RAID waits for a base that is not there yet, and nobody sees it meanwhile", `
		create a 4
		raid ~r @a ~later => true
		bdev_raid_get_bdevs category=configuring => [{"name": "~r", "state": "configuring", "num_base_bdevs": 2, "num_base_bdevs_discovered": 1, "num_base_bdevs_operational": 2, "base_bdevs_list": [{"name": "@a", "is_configured": true}, {"name": "~later", "is_configured": false}]}]
		bdev_raid_get_bdevs category=online => []
		show ~r => -19 No such device
		show @a => {"claimed": true}
		raid ~r @a ~later => -17 Failed to create RAID bdev ~r: File exists
		fork: bdev_null_create name=~other num_blocks=1024 block_size=4096
		fork: grow ~r ~other => -22 Failed to grow raid ~r adding base bdev ~other: Invalid argument
		bdev_null_create name=~later num_blocks=1024 block_size=4096
		settle ~r
		bases ~r => ["@a", "~later"]
		bdev_raid_delete name=~r => true
		raid ~q @a ~never => true
		bdev_raid_delete name=~q => true
		show @a => {"claimed": false}
		bdev_raid_get_bdevs category=all => []
	`},
	{"a RAID that waits can have the UUID of another one, whichever comes first, and stays as that one comes and goes", `
		create a 4
		create b 4
		bdev_raid_create name=~n raid_level=raid1 base_bdevs=["~x","~y"] uuid=6c1e3c5a-1111-4222-8333-444455556699 => true
		bdev_raid_get_bdevs category=all => [{"name": "~n", "uuid": "6c1e3c5a-1111-4222-8333-444455556699", "state": "configuring", "base_bdevs_list": [{"name": "~x"}, {"name": "~y"}]}]
		get 6c1e3c5a-1111-4222-8333-444455556699 => -19 No such device
		bdev_raid_create name=~r raid_level=raid1 base_bdevs=["@a","@b"] uuid=6c1e3c5a-1111-4222-8333-444455556699 => true
		show ~r => {"uuid": "6c1e3c5a-1111-4222-8333-444455556699"}
		bdev_raid_delete name=~r => true
		bdev_raid_create name=~r raid_level=raid1 base_bdevs=["@a","@b"] uuid=6c1e3c5a-1111-4222-8333-444455556699 => true
		bdev_raid_delete name=~n => true
		show ~r => {"uuid": "6c1e3c5a-1111-4222-8333-444455556699"}
		bdev_raid_create name=~n raid_level=raid1 base_bdevs=["~x","~y"] uuid=6c1e3c5a-1111-4222-8333-444455556699 => true
		get 6c1e3c5a-1111-4222-8333-444455556699 => [{"name": "~r"}]
		bdev_raid_create name=~n raid_level=raid1 base_bdevs=["~x","~z"] uuid=6c1e3c5a-1111-4222-8333-444455556699 => -17 Failed to create RAID bdev ~n: File exists
		bdev_raid_delete name=~r => true
		bdev_raid_get_bdevs category=all => [{"name": "~n", "state": "configuring", "base_bdevs_list": [{"name": "~x"}, {"name": "~y"}]}]
		restart
		bdev_raid_get_bdevs category=all => []
	`},
	{"a RAID of one base, by a null bdev that goes", `
		create a 4
		write a 0 A
		bdev_null_create name=~n num_blocks=1024 block_size=4096
		raid ~r @a ~n => true
		ungrow ~n => true
		bases ~r => ["@a", null]
		view ~r => "A000"
		write ~r 1 B
		bdev_null_delete name=~n => true
		bdev_raid_delete name=~r
		view a => "AB00"
	`},
	{"a RAID is made anew over its bases and another one, with the same UUID, and its namespace comes back", `
		create a 4
		create b 4
		bdev_raid_create name=~r raid_level=raid1 base_bdevs=["@a","@b"] uuid=6c1e3c5a-1111-4222-8333-444455556677
		write ~r 0 A
		subsystem NQN
		serve NQN ~r abcdef0123456789abcdef0123456791 => 1
		show ~r => {"claim_type": "exclusive_write"}
		snapshot a s
		clone s c
		withdraw NQN 1 => true
		bdev_raid_delete name=~r => true
		bdev_raid_create name=~r raid_level=raid1 base_bdevs=["@a","@b","@c"] uuid=6c1e3c5a-1111-4222-8333-444455556677 => true
		serve NQN ~r abcdef0123456789abcdef0123456791 => 1
		bases ~r => ["@a", "@b", "@c"]
		drop NQN
		write ~r 1 B
		bdev_raid_delete name=~r
		view a => "AB00"
		view c => "AB00"
	`},
	{"a RAID that is exported and loses its last base takes its namespace with it", `
		create a 4
		create b 4
		raid ~r @a @b
		subsystem NQN
		serve NQN ~r abcdef0123456789abcdef0123456792 => 1
		delete a => true
		delete b => true
		nvmf_get_subsystems nqn=NQN => [{"namespaces": []}]
		show ~r => -19 No such device
		drop NQN
	`},
	{"a base can be renamed, and the RAID goes on to call it by the name that it was given", `
		create a 4
		create b 4
		raid ~r @a @b
		rename a c => true
		bases ~r => ["@a", "@b"]
		write ~r 0 A
		bdev_raid_delete name=~r
		view c => "A000"
	`},
	{"bases of unequal size: the RAID is as large as the smallest", `
		create a 4
		create b 3
		raid ~r @a @b => true
		show ~r => {"num_blocks": 768}
		bdev_raid_delete name=~r
		resize a 4
		raid ~r @b @a => true
		show ~r => {"num_blocks": 768}
		bdev_raid_delete name=~r
	`},
}
