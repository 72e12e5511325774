package facts

var parents = []fact{
	{"what a longer snapshot has merged into cannot be deleted, and a delete hides it; a resize or a restart cures it", `
		create a 2
		write a 1 A
		snapshot a s
		resize a 1
		delete s => true
		view a => "0"
		delete a => -32603 Invalid argument
		names => []
		create b 2
		write b 1 A
		snapshot b t
		resize b 1
		delete t => true
		resize b 2 => true
		view b => "00"
		delete b => true
	`},
	{"only clusters beyond the end of what it merges into matter, and a snapshot takes them over", `
		create a 2
		write a 0 A
		snapshot a s
		resize a 1
		delete s => true
		delete a => true
		create b 2
		write b 1 A
		snapshot b t
		resize b 1
		delete t => true
		snapshot b u
		delete b => true
		delete u => -32603 Invalid argument
	`},
	{"onto a parent with as many clusters", `
		create p0 3
		write p0 0 P
		write p0 1 P
		snapshot p0 p
		create a 3
		write a 1 A
		set_parent a p => true
		show @a => {"base_snapshot": "p", "num_allocated_clusters": 1}
		view a => "PA0"
		set_parent a p => -32602 File exists
	`},
	{"onto a parent with another number of clusters", `
		create p0 2
		snapshot p0 p
		create a 3
		set_parent a p => -32602 Invalid argument
		create b 1
		set_parent b p => -32602 Invalid argument
	`},
	{"onto itself, onto what is no snapshot, onto something missing, a thick one", `
		create a 2
		create b 2
		snapshot b s
		thick t 2
		set_parent a a => -32602 Invalid argument
		set_parent a b => -32602 Invalid argument
		set_parent a none => -19 No such device
		set_parent none s => -19 No such device
		set_parent t s => -32602 Invalid argument
	`},
	{"a snapshot with clones: the views of everything above change with it", `
		create p0 2
		write p0 0 P
		snapshot p0 p
		create a 2
		write a 1 A
		snapshot a s
		clone s c
		set_parent s p => true
		view c => "PA"
		view a => "PA"
	`},
	{"a writable lvol is grafted, then sealed", `
		create p0 2
		write p0 0 P
		snapshot p0 p
		create a 2
		write a 1 A
		set_parent a p
		snapshot a s
		delete a
		show @s => {"base_snapshot": "p", "num_allocated_clusters": 1}
		view s => "PA"
	`},
	{"a clone of a small image, resized, then sealed, hangs on the small image", `
		create p0 1
		write p0 0 P
		snapshot p0 p
		clone p c
		resize c 3
		snapshot c s
		show @s => {"clusters": 3, "base_snapshot": "p"}
		view s => "P00"
	`},
	{"over a spacer onto a parent of another size", `
		create p0 1
		write p0 0 P
		snapshot p0 p
		create a 3
		write a 2 A
		snapshot a s
		clone p t
		resize t 3
		snapshot t e
		delete t
		set_parent s e => true
		view a => "P0A"
		delete e => true
		show @s => {"base_snapshot": "p", "num_allocated_clusters": 1}
		view a => "P0A"
		restart
		view a => "P0A"
	`},
	{"over a spacer onto nothing", `
		create a 2
		write a 0 A
		snapshot a s
		write a 1 B
		snapshot a t
		create z0 2
		snapshot z0 z
		delete z0
		set_parent t z => true
		delete z => true
		show @t => {"base_snapshot": null, "clone": false}
		view a => "0B"
	`},
	{"detach hangs the lvol on what its parent hangs on", `
		create a 3
		write a 0 A
		snapshot a s
		write a 1 B
		snapshot a t
		write a 2 C
		snapshot a u
		fork: detach u => true
		fork: show @u => {"base_snapshot": "s", "num_allocated_clusters": 1}
		fork: view a => "A0C"
		fork: detach u => true
		fork: show @u => {"base_snapshot": null, "clone": false, "thin_provision": true}
		fork: view a => "00C"
		fork: detach u => -32602 Invalid argument
		upstream: detach u => -32601 Method not found
	`},
	{"detach of a head", `
		create a 2
		write a 0 A
		snapshot a s
		write a 1 B
		fork: detach a => true
		fork: show @a => {"base_snapshot": null}
		fork: view a => "0B"
		fork: show @s => {"snapshot": true, "clones": null}
	`},
	{"a cycle is accepted, and after a restart the store loads with no lvol at all", `
		create a 2
		snapshot a s
		snapshot a t
		set_parent s t => true
		show @s => {"base_snapshot": "t"}
		restart
		names => []
	`},
	{"a clone in a cycle is never answered, nor is anything after it", `
		create a 2
		snapshot a s
		snapshot a t
		set_parent s t => true
		clone t c => no answer
		rpc_get_methods => no answer
	`},
}
