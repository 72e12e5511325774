package facts

var restarts = []fact{
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
