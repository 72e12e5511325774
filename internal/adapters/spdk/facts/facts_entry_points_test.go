package facts

// entryPoints are those of linked clones: Longhorn's engine clones a snapshot, takes a
// snapshot of the clone, the entry point, and deletes the rest of the clone. The linked
// clone's ancestor, or its head, has the entry point as its parent.
var entryPoints = []fact{
	{"an entry point is an empty snapshot, and shows its parent", `
		create a 3
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t => true
		show @ep => {"base_snapshot": "daily", "num_allocated_clusters": 0, "write": false}
		clone ep c
		write c 2 C
		view c => "D0C"
		show @c => {"base_snapshot": "ep", "num_allocated_clusters": 1}
		show @daily => {"clones": ["a", "ep"]}
	`},
	{"a clone of an entry point without a parent reads zeros", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		write c 1 C
		create z0 2
		snapshot z0 z
		set_parent ep z => true
		view c => "0C"
		set_parent ep daily => true
		view c => "DC"
		fork: detach ep => true
		fork: show @ep => {"base_snapshot": null}
		fork: view c => "0C"
	`},
	{"an entry point gets another parent while its clone is there, in one call", `
		create a 2
		write a 0 D
		snapshot a daily
		write a 0 E
		snapshot a later
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		view c => "D0"
		set_parent ep later => true
		view c => "E0"
		set_parent ep daily => true
		view c => "D0"
		set_parent ep daily => -32602 File exists
		create p0 3
		snapshot p0 p
		set_parent ep p => -32602 Invalid argument
	`},
	{"a snapshot whose only clone is an entry point merges into it when it is deleted", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		delete a
		delete daily => true
		show @ep => {"base_snapshot": null, "num_allocated_clusters": 1}
		view c => "D0"
	`},
	{"a clone of an entry point that is deleted gets the snapshot as its parent", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		delete ep => true
		show @c => {"base_snapshot": "daily", "num_allocated_clusters": 0}
		view c => "D0"
	`},
	{"an entry point with two clones is not deleted", `
		create a 2
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		clone ep d
		delete ep => -32603 Operation not permitted
		show @ep => {"base_snapshot": "daily", "clones": ["c", "d"]}
	`},
	{"a rename of a snapshot that has an entry point", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		fork: rename daily aside => true
		fork: show @ep => {"base_snapshot": "aside"}
		fork: view c => "D0"
		fork: clone aside w # or the name is lost in a restart, and the disk never goes
		fork: restart
		fork: show @ep => {"base_snapshot": "aside"}
		upstream: rename daily aside => -32602 Operation not permitted
		upstream: rename aside daily => true
		upstream: show @ep => {"base_snapshot": "daily"}
		upstream: show @daily => {"clones": ["a", "ep"]}
		upstream: view c => "D0"
	`},
	{"detached from its entry point an ancestor gets the snapshot, and then no parent", `
		fork: create a 2
		fork: write a 0 D
		fork: snapshot a daily
		fork: clone daily t
		fork: snapshot t ep
		fork: delete t
		fork: clone ep c
		fork: write c 1 C
		fork: snapshot c ancestor
		fork: detach ancestor => true
		fork: show @ancestor => {"base_snapshot": "daily"}
		fork: detach ancestor => true
		fork: show @ancestor => {"base_snapshot": null}
		fork: view c => "0C"
	`},
	{"an entry point without clones sleeps after a restart, until it was cloned", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		create c 2
		restart
		set_parent c ep => -32602 Invalid argument
		clone ep w
		set_parent c ep => true
		view c => "D0"
		delete w => true
		view c => "D0"
	`},
	{"an entry point can be made by create, graft and seal, too", `
		create a 2
		write a 0 D
		snapshot a daily
		create t 2
		set_parent t daily => true
		snapshot t ep
		delete t => true
		show @ep => {"base_snapshot": "daily", "num_allocated_clusters": 0, "write": false}
		show @daily => {"clones": ["a", "ep"]}
		clone ep c
		view c => "D0"
		restart
		show @ep => {"base_snapshot": "daily", "num_allocated_clusters": 0, "write": false, "clones": ["c"]}
		view c => "D0"
	`},
	{"a snapshot with its head and an entry point is not deleted", `
		create a 2
		write a 0 D
		snapshot a daily
		clone daily t
		snapshot t ep
		delete t
		delete daily => -32603 Operation not permitted
		show @daily => {"clones": ["a", "ep"]}
	`},
	{"an entry point is grafted while its clone is exported", `
		create a 3
		write a 0 D
		snapshot a daily
		write a 0 E
		snapshot a later
		clone daily t
		snapshot t ep
		delete t
		clone ep c
		subsystem NQN-c
		export NQN-c c 1 00112233445566778899aabbccddeeff
		set_parent ep later => true
		set_parent ep daily => true
		set_parent ep later => true
		drop NQN-c
		write c 1 C
		view c => "EC0"
	`},
	{"a snapshot that is renamed and its name given away are both there after a restart, if it was cloned between", `
		fork: create a 2
		fork: write a 0 D
		fork: snapshot a daily
		fork: clone daily t
		fork: snapshot t ep
		fork: delete t
		fork: clone ep c
		fork: rename daily aside => true
		fork: clone aside w
		fork: delete w => true
		fork: create b 2
		fork: write b 1 E
		fork: snapshot b daily
		fork: restart
		fork: names => ["a", "aside", "b", "c", "daily", "ep"]
		fork: show @aside => {"clones": ["a", "ep"]}
		fork: show @daily => {"clones": ["b"]}
		fork: view c => "D0"
		fork: set_parent ep daily => true
		fork: view c => "0E"
	`},
	{"if it was not cloned, one of the two is not listed after a restart", `
		fork: create a 2
		fork: write a 0 D
		fork: snapshot a daily
		fork: clone daily t
		fork: snapshot t ep
		fork: delete t
		fork: clone ep c
		fork: rename daily aside => true
		fork: create b 2
		fork: write b 1 E
		fork: snapshot b daily
		fork: names => ["a", "aside", "b", "c", "daily", "ep"]
		fork: restart
		fork: names => ["a", "b", "c", "daily", "ep"]
		fork: show @daily => {"clones": ["a", "ep"]}
		fork: view c => "D0"
		fork: show @b => {"base_snapshot": null, "clone": true}
		fork: view b => "0E"
	`},
}
