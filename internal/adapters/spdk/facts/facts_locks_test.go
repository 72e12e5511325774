package facts

var locks = []fact{
	{"a second copy of one source starts, and then says that it is busy", `
		create a 16
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		create d 16
		create e 16
		limit d 1
		start @s @d one
		start @s @e two
		await two => {"state": "error", "error": "Device or resource busy"}
		limit d 0
		await one => {"state": "complete", "copied_clusters": 3}
	`},
	{"a snapshot that is being copied takes no clone, no child and no checksum", `
		create a 4
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		create b 4
		create d 4
		limit d 1
		start @s @d op
		clone s c => -32602 Device or resource busy
		set_parent b s => -32602 Device or resource busy
		set_parent s s => -32602 Invalid argument
		fork: register s => -32603 Device or resource busy
		inflate s => -32602 Device or resource busy
		limit d 0
		await op => {"state": "complete"}
		clone s c
		set_parent b s => true
	`},
	{"what is deleted while it is copied is busy, and yet gone from every listing until a restart", `
		create a 4
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		delete a
		create d 4
		limit d 1
		start @s @d op
		delete s => -32603 Device or resource busy
		names => ["d"]
		show @s => -19 No such device
		delete s => -19 No such device
		limit d 0
		await op => {"state": "complete", "copied_clusters": 3}
		names => ["d"]
		restart
		names => ["d", "s"]
	`},
	{"what hangs on a snapshot that a delete has hidden", `
		create a 4
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		create d 4
		limit d 1
		start @s @d op
		delete s => -32603 Device or resource busy
		show @a => {"clone": true, "base_snapshot": null}
		view a => "AAA0"
		limit d 0
		await op => {"state": "complete"}
		restart
		show @a => {"clone": true, "base_snapshot": "s"}
	`},
	{"a snapshot whose clone a delete has hidden shows none, and crashes the fork when it is deleted", `
		create p0 2
		write p0 0 P
		snapshot p0 p
		delete p0
		create a 2
		set_parent a p ; snapshot a s ; delete a => true ; -32602 Device or resource busy ; -32603 Device or resource busy
		show @p => {"snapshot": true, "clones": []}
		fork: delete p => dies
		upstream: delete p => true
		upstream: names => []
		upstream: restart
		upstream: names => ["a"]
		upstream: show @a => {"base_snapshot": null, "num_allocated_clusters": 1}
		upstream: view a => "P0"
	`},
	{"with another clone such a snapshot is not deleted", `
		create p0 2
		snapshot p0 p
		delete p0
		create a 2
		set_parent a p ; snapshot a s ; delete a => true ; -32602 Device or resource busy ; -32603 Device or resource busy
		clone p k
		show @p => {"clones": ["k"]}
		delete p => -32603 Operation not permitted
		show @p => {"clones": ["k"]}
		delete k
		restart
		names => ["a", "p"]
		show @a => {"base_snapshot": "p"}
	`},
	{"a snapshot that is deleted while its clone is crashes the target", `
		create a 2
		snapshot a s
		delete a
		clone s c
		delete c ; delete s => dies ; dies
	`},
	{"an lvol that is deleted while it is resized crashes the target (upstream may hang instead); a rename comes after the resize", `
		create a 2
		resize a 4 ; rename a b => true ; true
		show @b => {"clusters": 4}
		delete b => true
		create a 2
		fork: resize a 4 ; delete a => dies ; dies
	`},
	{"with another clone it is not deleted, and merges into that one afterwards", `
		create a 2
		write a 0 A
		snapshot a s
		delete a
		clone s c
		clone s k
		delete c ; delete s => true ; -32603 Operation not permitted
		delete s => true
		names => ["k"]
		show @k => {"base_snapshot": null, "num_allocated_clusters": 1}
		view k => "A0"
		delete k
	`},
	{"the destination of a copy can be deleted", `
		create a 8
		write a 0 A
		write a 1 A
		write a 2 A
		write a 3 A
		write a 4 A
		snapshot a s
		create d 8
		limit d 4
		start @s @d op
		show @d => {"claimed": true, "claim_type": "read_many_write_one"}
		delete d => true
		names => ["a", "s"]
	`},
	{"three grafts onto one parent in one write", `
		create p0 2
		snapshot p0 p
		create a 2
		create b 2
		create c 2
		set_parent a p ; set_parent b p ; set_parent c p => true ; -32602 Device or resource busy ; -32602 Device or resource busy
		show @p => {"clones": ["a", "p0"]}
	`},
	{"a graft of a snapshot, and a clone of it or of its parent, in one write", `
		create p0 2
		snapshot p0 p
		create a 2
		snapshot a s
		set_parent s p ; clone s x ; clone p y => true ; -32602 Invalid argument ; -32602 Device or resource busy
	`},
	{"three clones of one snapshot in one write", `
		create a 2
		snapshot a s
		clone s x ; clone s y ; clone s z => any ; -32602 Device or resource busy ; -32602 Device or resource busy
	`},
	{"a graft, a snapshot and a delete of one lvol in one write", `
		create p0 2
		snapshot p0 p
		create a 2
		set_parent a p ; snapshot a s ; delete a => true ; -32602 Device or resource busy ; -32603 Device or resource busy
		names => ["p", "p0"]
		show @a => -19 No such device
		restart
		names => ["a", "p", "p0"]
		show @a => {"base_snapshot": "p"}
	`},
	{"creates of several, and snapshots of several, in one write", `
		create a 1 ; create b 1 ; create c 1
		snapshot a s ; snapshot b t ; snapshot c u
		names => ["a", "b", "c", "s", "t", "u"]
	`},
	{"one name twice in one write", `
		create a 1 ; create a 1 => any ; -17 File exists
		names => ["a"]
	`},
	{"what a call makes is not there for the next one in the same write", `
		create a 1 ; resize a 2 => any ; -19 No such device
		create b 1 ; snapshot b s => any ; -19 No such device
	`},
}
