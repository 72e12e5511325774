package facts

var checksums = []fact{
	{"none before it is registered, none of what is no snapshot", `
		create a 2
		fork: checksum a => -19 No such device
		fork: register a => -32603 Operation not permitted
		fork: snapshot a s
		fork: checksum s => -19 No such device
		fork: register s => true
		fork: checksum s => {"checksum": 0}
		upstream: checksum a => -32601 Method not found
		upstream: register a => -32601 Method not found
		upstream: map a => -32601 Method not found
	`},
	{"a CRC-64 of the own clusters, without their positions", `
		create a 8
		write a 2 A
		snapshot a s
		create b 8
		write b 5 A
		snapshot b t
		create z 8
		write z 0 0
		snapshot z u
		fork: register s ; register t ; register u
		fork: checksum s => {"checksum": 7383063966518048512}
		fork: checksum t => {"checksum": 7383063966518048512}
		fork: checksum u => {"checksum": 4832076406077912972}
		fork: map s => {"num_clusters": 8, "num_allocated_clusters": 1, "fragmap": "BA==", "cluster_size": 1048576}
		fork: map t => {"num_clusters": 8, "num_allocated_clusters": 1, "fragmap": "IA=="}
	`},
	{"set_parent, detach and a clone leave it", `
		create p0 2
		write p0 0 P
		snapshot p0 p
		create a 2
		write a 1 A
		snapshot a s
		fork: register s => true
		fork: set_parent s p
		fork: checksum s => {"checksum": 7383063966518048512}
		fork: detach s
		fork: clone s c
		fork: checksum s => {"checksum": 7383063966518048512}
	`},
	{"inflate and decouple drop it", `
		create a 2
		write a 0 A
		snapshot a s
		write a 1 A
		snapshot a t
		fork: register t
		fork: decouple t => true
		fork: checksum t => -19 No such device
		fork: register t
		fork: inflate t => true
		fork: checksum t => -19 No such device
	`},
	{"what was refused drops it, too, and for good", `
		create a 2
		write a 0 A
		snapshot a s
		fork: register s => true
		fork: decouple s => -32602 Invalid argument
		fork: checksum s => -19 No such device
		restart
		fork: checksum s => -19 No such device
	`},
	{"the map of a part", `
		create a 8
		write a 2 A
		write a 3 A
		fork: bdev_lvol_get_fragmap name=@a offset=2097152 size=1048576 => {"num_clusters": 1, "num_allocated_clusters": 1, "fragmap": "AQ=="}
		fork: bdev_lvol_get_fragmap name=@a offset=1 size=1048576 => -32602 Invalid argument
		fork: bdev_lvol_get_fragmap name=@a offset=0 size=9437184 => -32602 Invalid argument
		fork: bdev_lvol_get_fragmap name=@a => {"num_clusters": 8, "fragmap": "DA=="}
	`},
}
