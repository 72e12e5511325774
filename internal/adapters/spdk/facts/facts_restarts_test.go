package facts

var restarts = []fact{
	{"a snapshot merges into a longer lvol that owns none of the last 512 clusters it reaches into: it is gone after a restart", `
		create earlier 1
		create a 100
		write a 0 A
		snapshot a s
		resize a 600
		write a 550 E
		delete s => true
		show @a => {"clusters": 600, "num_allocated_clusters": 2}
		create later 1
		create last 1
		restart
		names => ["earlier", "last", "later"]
		show @a => -19 No such device
		bdev_lvol_get_lvstores lvs_name=STORE => [{"name": "STORE"}]
	`},
	{"and so is a snapshot, with all that hangs on it", `
		create a 100
		write a 0 A
		snapshot a s
		resize a 600
		write a 550 E
		snapshot a t
		delete s => true
		show @t => {"clusters": 600, "num_allocated_clusters": 2}
		restart
		names => []
	`},
	{"where those 512 are its last ones it is as long as the snapshot was", `
		create a 4
		write a 0 A
		snapshot a s
		resize a 5
		snapshot a t
		delete s => true
		show @t => {"clusters": 5}
		restart
		show @t => {"clusters": 4}
		view t => "A000"
		show @a => {"clusters": 5}
		view a => "A0000"
	`},
	{"one cluster of its own among them is enough, before or after", `
		create a 100
		write a 0 A
		snapshot a s
		resize a 600
		write a 99 B
		write a 550 E
		delete s => true
		create b 100
		write b 0 A
		snapshot b t
		resize b 600
		write b 550 E
		delete t => true
		write b 99 B
		restart
		names => ["a", "b"]
		show @a => {"clusters": 600, "num_allocated_clusters": 3}
		show @b => {"clusters": 600, "num_allocated_clusters": 3}
	`},
	{"a snapshot that owns none of them, or reaches to their end, is harmless", `
		create a 600
		write a 0 A
		snapshot a s
		resize a 1100
		write a 1050 E
		delete s => true
		create b 512
		write b 0 A
		snapshot b t
		resize b 600
		write b 550 E
		delete t => true
		restart
		names => ["a", "b"]
		show @a => {"clusters": 1100, "num_allocated_clusters": 2}
		show @b => {"clusters": 600, "num_allocated_clusters": 2}
	`},
	{"a resize of what it has merged into writes its last ones anew", `
		create a 4
		write a 0 A
		snapshot a s
		resize a 5
		delete s => true
		resize a 6 => true
		restart
		show @a => {"clusters": 6, "num_allocated_clusters": 1}
	`},
	{"a snapshot without clones is asleep, until it is cloned", `
		create a 2
		write a 0 A
		snapshot a s
		delete a
		show @s => {"snapshot": true, "write": false}
		restart
		show @s => {"snapshot": false, "write": false}
		lvol s => {"is_snapshot": false}
		create b 2
		set_parent b s => -32602 Invalid argument
		fork: register s => -32603 Operation not permitted
		resize s 3 => -32602 Operation not permitted
		snapshot s t => -32602 Invalid argument
		create d 2
		copy @s @d => {"state": "complete", "copied_clusters": 1, "total_clusters": 1}
		clone s c
		show @s => {"snapshot": true}
		delete c
		show @s => {"snapshot": true}
		set_parent b s => true
		view b => "A0"
	`},
	{"names, sizes, parents, clusters and attributes are as before", `
		create a 3
		write a 0 A
		fork: bdev_lvol_snapshot lvol_name=@a snapshot_name=s xattrs={"key":"value"}
		fork: register s => true
		fork: set_xattr a key other
		upstream: snapshot a s
		write a 1 B
		resize a 4
		rename a head
		thick t 2
		restart
		names => ["head", "s", "t"]
		show @head => {"clusters": 4, "base_snapshot": "s", "num_allocated_clusters": 1, "aliases": ["@head"]}
		show @s => {"snapshot": true, "clones": ["head"], "num_allocated_clusters": 1}
		show @t => {"thin_provision": false, "num_allocated_clusters": 2}
		view head => "AB00"
		fork: get_xattr s key => "value"
		fork: get_xattr head key => "other"
		fork: checksum s => {"checksum": 7383063966518048512}
	`},
	{"a limit is forgotten", `
		create a 1
		limit a 5 => true
		restart
		show @a => {"assigned_rate_limits": {"rw_mbytes_per_sec": 0}}
	`},
	{"what was being copied is a plain lvol under the name it had", `
		create a 8
		write a 0 A
		write a 7 A
		snapshot a s
		create d 8
		limit d 1
		start @s @d op
		restart
		names => ["a", "d", "s"]
		show @d => {"claimed": false, "write": true}
		check op => -19 No such device
	`},
}
