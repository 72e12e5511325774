package facts

var volumes = []fact{
	{"create an lvol whose name is taken", `
		create a 1
		create a 1 => -17 File exists
	`},
	{"a name may have 255 bytes on the fork, 63 upstream", `
		upstream: create x*63 1
		upstream: create x*64 1 => -22 Invalid argument
		fork: create x*255 1
		fork: create x*256 1 => -22 Invalid argument
		create "" 1 => -22 Invalid argument
	`},
	{"the limit of names holds for snapshots and clones, too", `
		create a 1
		upstream: snapshot a x*64 => -32602 Invalid argument
		fork: snapshot a x*256 => -32602 Invalid argument
		snapshot a s
		upstream: clone s x*64 => -32602 Invalid argument
		fork: clone s x*256 => -32602 Invalid argument
	`},
	{"a thin lvol may be larger than the store", `create a 1000`},
	{"a thick lvol may not be larger than the store", `
		thick a 1000 => -32602 No space left on device
		thick a 10
		show @a => {"num_allocated_clusters": 10, "thin_provision": false}
	`},
	{"an lvol of no size", `
		create a 0
		show @a => {"clusters": 0}
		fork: map a => -32602 Invalid argument
		snapshot a s
		clone s c
		resize c 2 => true
	`},
	{"what an lvol supports", `
		create a 1
		fork: show @a => {"supported_io_types": {"read": true, "write": true, "unmap": true, "flush": true, "nvme_nssr": null}, "optimal_write_size": null}
		upstream: show @a => {"supported_io_types": {"read": true, "write": true, "unmap": true, "flush": false, "nvme_nssr": false}, "optimal_write_size": 0}
	`},
	{"only a snapshot can be cloned", `
		create a 1
		clone a c => -32602 Invalid argument
	`},
	{"a taken name for a clone, a snapshot and a rename", `
		create a 1
		snapshot a s
		clone s a => -32602 File exists
		snapshot a s => -32602 File exists
		rename a s => -32602 File exists
		rename a a => -32602 File exists
	`},
	{"no snapshot of a snapshot", `
		create a 1
		snapshot a s
		snapshot s t => -32602 Invalid argument
	`},
	{"a snapshot takes over the lvol's clusters and parent", `
		create a 3
		write a 0 A
		snapshot a s
		write a 1 B
		snapshot a t
		show @a => {"num_allocated_clusters": 0, "base_snapshot": "t", "snapshot": false, "clone": true, "write": true}
		show @t => {"num_allocated_clusters": 1, "base_snapshot": "s", "snapshot": true, "clone": true, "clones": ["a"], "write": false}
		show @s => {"num_allocated_clusters": 1, "base_snapshot": null, "snapshot": true, "clone": false, "clones": ["t"]}
		view a => "AB0"
	`},
	{"xattrs of a snapshot are set when it is made, and never after", `
		create a 1
		fork: set_xattr a key value
		fork: get_xattr a key => "value"
		fork: bdev_lvol_snapshot lvol_name=@a snapshot_name=s xattrs={"user_created":"true"}
		fork: get_xattr s user_created => "true"
		fork: get_xattr s key => -32603 No such file or directory
		fork: get_xattr a key => "value"
		fork: set_xattr s other value => -32602 Operation not permitted
		upstream: set_xattr a key value => -32601 Method not found
		upstream: bdev_lvol_snapshot lvol_name=@a snapshot_name=s xattrs={} => -32603 spdk_json_decode_object failed
	`},
	{"an lvstore's own xattrs can be read, too", `
		create a 1
		fork: get_xattr a name => "a"
	`},
	{"rename of a writable lvol", `
		create a 1
		rename a b => true
		names => ["b"]
		show @b => {"aliases": ["@b"]}
		show @a => -19 No such device
	`},
	{"rename of a snapshot works on the fork; upstream refuses, and yet the alias changes until a restart", `
		create a 1
		snapshot a s
		fork: rename s t => true
		fork: names => ["a", "t"]
		upstream: rename s t => -32602 Operation not permitted
		upstream: names => ["a", "s"]
		upstream: show @t => {"aliases": ["@t"]}
		upstream: show @s => -19 No such device
		upstream: restart
		upstream: show @s => {"aliases": ["@s"]}
	`},
	{"the rename of a snapshot on the fork is lost in a restart, unless it was opened and closed since", `
		create a 2
		snapshot a s
		create b 2
		snapshot b t
		create c 2
		snapshot c u
		create d 2
		snapshot d v
		clone v w
		fork: rename s s2 => true
		fork: rename t t2 => true
		fork: rename u u2 => true
		fork: rename v v2 => true
		fork: clone t2 x
		fork: set_parent a u2 => true
		fork: delete w => true
		fork: names => ["a", "b", "c", "d", "s2", "t2", "u2", "v2", "x"]
		fork: restart
		fork: names => ["a", "b", "c", "d", "s2", "t2", "u", "v2", "x"]
		fork: show @u => {"aliases": ["@u"], "clones": ["a", "c"]}
	`},
	{"a snapshot of a snapshot that was renamed just now holds its name until it is refused, on the fork", `
		create a 1
		snapshot a s
		snapshot s t ; snapshot s t => -32602 Invalid argument ; -32602 Invalid argument
		fork: rename s r => true
		fork: snapshot r t ; snapshot r t => -32602 Invalid argument ; -32602 File exists
		fork: snapshot r t ; snapshot r t => -32602 Invalid argument ; -32602 Invalid argument
		create t 1
	`},
	{"what a refused rename leaves behind keeps others from the name", `
		create a 1
		write a 0 A
		snapshot a s
		upstream: rename s t => -32602 Operation not permitted
		upstream: create t 1 => -32602 File exists
		upstream: thick t 1 => -32602 File exists or -17 File exists # what the call before has made is being removed
		upstream: thick t 1000 => -32602 No space left on device
		upstream: clone t t => -32602 File exists or -17 File exists
		upstream: snapshot a t => -32602 File exists or -17 File exists
		upstream: names => ["a", "s"]
		upstream: show @a => {"base_snapshot": "s", "num_allocated_clusters": 0}
		upstream: create s 1 => -17 File exists
		upstream: show @s => -19 No such device
		upstream: delete s => true
		upstream: names => ["a"]
	`},
	{"a snapshot that is refused for such a name makes a thick lvol a thin one", `
		create a 1
		snapshot a s
		thick b 2
		lvol b => {"is_thin_provisioned": false}
		upstream: rename s t => -32602 Operation not permitted
		upstream: snapshot b t => -32602 File exists
		upstream: lvol b => {"is_thin_provisioned": true, "is_clone": false, "num_allocated_clusters": 2}
	`},
	{"a longer name is cut off in a rename, and the alias is not", `
		create a 1
		upstream: rename a x*70 => true
		upstream: show @xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx => {"write": true}
		upstream: names => ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
		fork: rename a x*255 => true
	`},
	{"creation_time is the fork's", `
		create a 1
		upstream: show @a => {"creation_time": null}
		upstream: lvol a => {"creation_time": null, "num_allocated_clusters": 0}
		fork: lvol a => {"num_allocated_clusters": null}
	`},
	{"a head can be resized, a snapshot not", `
		create a 4
		write a 0 A
		write a 3 B
		resize a 6 => true
		show @a => {"clusters": 6}
		view a => "A00B00"
		resize a 2 => true
		show @a => {"clusters": 2, "num_allocated_clusters": 1}
		resize a 4 => true
		view a => "A000"
		resize a 4 => true
		snapshot a s
		resize s 6 => -32602 Operation not permitted
		resize s 4 => -32602 Operation not permitted
	`},
	{"what somebody has open is refused when it becomes shorter, and yet it does", `
		create a 4
		write a 3 A
		subsystem NQN
		export NQN a 1 abcdef0123456789abcdef0123456789
		resize a 5 => true
		resize a 2 => -32602 Device or resource busy
		show @a => {"clusters": 5, "num_allocated_clusters": 0}
		resize a 4 => -32602 Device or resource busy
		resize a 4 => -32602 Device or resource busy
		resize a 5 => true
		resize a 2 => -32602 Device or resource busy
		restart
		show @a => {"clusters": 2}
	`},
	{"something missing", `
		bdev_get_bdevs name=@none => -19 No such device
		delete none => -19 No such device
		snapshot none s => -19 No such device
		clone none c => -19 No such device
		resize none 1 => -19 No such device
		rename none n => -19 No such device
		inflate none => -19 No such device
		create a 1
		set_parent a none => -19 No such device
		set_parent none a => -19 No such device
		bdev_lvol_start_shallow_copy src_lvol_name=@none dst_bdev_name=@a => -19 No such device
		bdev_lvol_check_shallow_copy operation_id=99999 => -19 No such device
		bdev_lvol_get_lvols lvs_name=none => -19 No such device
		bdev_lvol_get_lvstores lvs_name=none => -19 No such device
		bdev_lvol_create lvs_name=none lvol_name=a size_in_mib=1 => -19 No such device
		limit none 1 => -19 No such device
		bdev_get_iostat name=@none => -19 No such device
		fork: map none => -19 No such device
		fork: register none => -19 No such device
		fork: checksum none => -19 No such device
		fork: get_xattr none key => -19 No such device
	`},
	{"delete of a snapshot without clones, of one with one, and of one with two", `
		create a 3
		write a 0 A
		write a 1 A
		snapshot a s
		write a 1 B
		snapshot a t
		clone t c
		write a 2 C
		delete t => -32603 Operation not permitted
		delete c => true
		free => 61
		delete t => true
		show @a => {"num_allocated_clusters": 2, "base_snapshot": "s"}
		view a => "ABC"
		delete s => true
		show @a => {"num_allocated_clusters": 3, "base_snapshot": null, "clone": false}
		view a => "ABC"
		delete a => true
		names => []
		free => 65
	`},
	{"what a merge makes of a snapshot: same name, same xattrs, other clusters, no checksum", `
		create a 2
		write a 0 A
		snapshot a s
		write a 1 B
		fork: bdev_lvol_snapshot lvol_name=@a snapshot_name=t xattrs={"key":"value"}
		fork: register t => true
		fork: map t => {"num_allocated_clusters": 1, "fragmap": "Ag=="}
		fork: delete s => true
		fork: checksum t => -19 No such device
		fork: map t => {"num_allocated_clusters": 2, "fragmap": "Aw=="}
		fork: get_xattr t key => "value"
	`},
	{"both the UUID and the alias name an lvol", `
		create a 1
		show @a => {"aliases": ["@a"], "product_name": "Logical Volume"}
		get @a ; get @a
	`},
	{"an unknown method, and parameters that cannot be decoded", `
		bdev_lvol_nonsense => -32601 Method not found
		bdev_lvol_create lvs_name=STORE => -32603 spdk_json_decode_object failed
		bdev_lvol_create lvs_name=STORE lvol_name=a size_in_mib="1" => -32603 spdk_json_decode_object failed
		bdev_lvol_create lvs_name=STORE lvol_name=a size_in_mib=1 color=red => -32603 spdk_json_decode_object failed
		bdev_lvol_create lvs_name=STORE lvol_name=null size_in_mib=1 => -32603 spdk_json_decode_object failed
		bdev_lvol_delete => -32603 spdk_json_decode_object failed
		bdev_lvol_create lvol_name=a size_in_mib=1 => -22 Invalid argument
		bdev_lvol_create lvs_name=STORE lvol_name=a size_in_mib=1 clear_method=burn => -22 Invalid clean_method option
	`},
	{"inflate makes every cluster its own, and the lvol thick", `
		create a 3
		write a 0 A
		snapshot a s
		inflate a => true
		show @a => {"num_allocated_clusters": 3, "thin_provision": false, "clone": false, "base_snapshot": null}
		view a => "A00"
		show @s => {"snapshot": true, "clones": null}
		inflate a => true
	`},
	{"decouple copies what the parent owns, and hangs the lvol on the grandparent", `
		create a 3
		write a 0 A
		snapshot a s
		write a 1 B
		snapshot a t
		decouple a => true
		show @a => {"num_allocated_clusters": 1, "base_snapshot": "s"}
		view a => "AB0"
		decouple a => true
		show @a => {"num_allocated_clusters": 2, "base_snapshot": null, "thin_provision": true}
		decouple a => -32602 Invalid argument
	`},
	{"a limit that is none", `
		create a 1
		bdev_set_qos_limit name=@a => -22 No rate limits specified
		limit a 5 => true
		show @a => {"assigned_rate_limits": {"rw_mbytes_per_sec": 5}}
	`},
	{"upstream a limit can be changed or lifted only while the bdev is in use", `
		create a 1
		limit a 0 => true
		limit a 5 => true
		fork: limit a 6 => true
		upstream: limit a 6 => -32602 Failed to configure rate limit: Resource temporarily unavailable
		upstream: limit a 0 => -32602 Failed to configure rate limit: Resource temporarily unavailable
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456789
		limit a 6 => true
		limit a 0 => true
		show @a => {"assigned_rate_limits": {"rw_mbytes_per_sec": 0}}
		drop NQN
	`},
}
