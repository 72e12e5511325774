package facts

var copies = []fact{
	{"the own clusters of a snapshot, and no others", `
		create a 4
		write a 0 A
		write a 1 A
		snapshot a s
		write a 1 B
		write a 3 B
		snapshot a t
		create d 4
		write d 2 D
		copy @t @d => {"state": "complete", "copied_clusters": 2, "total_clusters": 2}
		view d => "0BDB"
		show @d => {"num_allocated_clusters": 3, "claimed": false}
	`},
	{"from a writable lvol it starts, and is refused then", `
		create a 2
		write a 0 A
		create d 2
		copy @a @d => {"state": "error", "error": "Operation not permitted", "copied_clusters": 0, "total_clusters": 1}
	`},
	{"of a snapshot without clusters", `
		create a 2
		snapshot a s
		create d 2
		copy @s @d => {"state": "complete", "copied_clusters": 0, "total_clusters": 0}
	`},
	{"to a smaller bdev, and to a larger one", `
		create a 2
		write a 0 A
		snapshot a s
		create d 1
		create e 3
		copy @s @d => {"state": "error", "error": "Invalid argument"}
		copy @s @e => {"state": "complete"}
	`},
	{"to a missing bdev: and the number of the operation is used up", `
		create a 2
		snapshot a s
		create d 2
		start @s @none op => -32602 No such device
		copy @s @d
	`},
	{"to what is read-only, and to what somebody else has", `
		create a 2
		write a 0 A
		snapshot a s
		create b 2
		snapshot b t
		copy @s @t => {"state": "error", "error": "Input/output error", "copied_clusters": 0, "total_clusters": 1}
		show @t => {"num_allocated_clusters": 0, "claimed": false}
		copy @s aio-STORE => -32602 Operation not permitted
	`},
	{"to itself", `
		create a 2
		write a 0 A
		snapshot a s
		copy @s @s => {"state": "error", "error": "Input/output error", "copied_clusters": 0}
		view s => "A0"
	`},
	{"the end of a copy is told once", `
		create a 2
		write a 0 A
		snapshot a s
		create d 2
		start @s @d op
		await op => {"state": "complete"}
		check op => -19 No such device
	`},
	{"out onto an AIO bdev: the view of a snapshot, ancestor first", `
		file ~f 3 F
		aio ~x ~f
		create a 3
		write a 0 A
		snapshot a s
		write a 1 B
		snapshot a t
		copy @s ~x => {"state": "complete"}
		copy @t ~x => {"state": "complete"}
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=c
		view c => "ABF"
		decouple c
		bdev_aio_delete name=~x => true
	`},
	{"into a full store", `
		create a 8
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		thick big 60
		create d 8
		free => 2
		copy @s @d => {"state": "error", "error": "Input/output error", "copied_clusters": 2}
		free => 0
		clone s c
		snapshot c t
		resize c 9 => true
		delete c => true
	`},
	{"a limit on the destination holds the copy back, and can be lifted", `
		create a 8
		write a 0 A
		write a 1 A
		write a 2 A
		write a 3 A
		write a 4 A
		write a 5 A
		snapshot a s
		create d 8
		limit d 1
		start @s @d op
		check op => {"state": "in progress", "total_clusters": 6}
		limit d 0
		await op => {"state": "complete", "copied_clusters": 6}
	`},
	{"into a store of another target", `
		create a 4
		write a 1 A
		snapshot a s
		B: create d 4
		B: subsystem NQN
		B: listen NQN
		B: export NQN d 1 abcdef0123456789abcdef0123456789
		attach ~c NQN B => ["~cn1"]
		copy @s ~cn1 => {"state": "complete", "copied_clusters": 1}
		B: view d => "0A00"
		unattach ~c => true
		B: drop NQN => true
	`},
	{"the removal of the namespace ends a copy, and the source is free again", `
		create a 8
		write a 0 A
		write a 1 A
		write a 2 A
		write a 3 A
		snapshot a s
		delete a
		B: create d 8
		B: limit d 1
		B: subsystem NQN
		B: listen NQN
		B: export NQN d 1 abcdef0123456789abcdef0123456789
		attach ~c NQN B
		start @s ~cn1 op
		B: withdraw NQN 1 => true
		await op => {"state": "error", "error": "Input/output error"}
		clone s c
		unattach ~c => true
		B: drop NQN => true
	`},
	{"a full store at the other end", `
		create a 8
		write a 0 A
		write a 1 A
		write a 2 A
		snapshot a s
		B: thick big 64
		B: create d 8
		B: subsystem NQN
		B: listen NQN
		B: export NQN d 1 abcdef0123456789abcdef0123456789
		attach ~c NQN B
		copy @s ~cn1 => {"state": "error", "error": "Input/output error", "copied_clusters": 1}
		bdev_get_iostat name=~cn1 => {"bdevs": [{"io_error": {"nvme_error": 1}}]}
		unattach ~c
		B: drop NQN
	`},
}
