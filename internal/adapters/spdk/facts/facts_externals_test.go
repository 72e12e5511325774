package facts

var externals = []fact{
	{"an esnap clone reads through to a bdev, until it is decoupled", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		show @a => {"esnap_clone": true, "clone": false, "num_allocated_clusters": 0, "clusters": 2}
		show ~x => {"claimed": true, "claim_type": "read_many_write_none"}
		view a => "FF"
		write a 1 A
		view a => "FA"
		decouple a => true
		show @a => {"esnap_clone": false, "num_allocated_clusters": 2, "thin_provision": false, "external_snapshot_name": null}
		show ~x => {"claimed": false}
		bdev_aio_delete name=~x => true
		view a => "FA"
	`},
	{"what an esnap clone has beyond its external bdev is neither read nor written nor decoupled", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		resize a 4
		view a => "FF!!"
		decouple a => -32602 Invalid argument
		show @a => {"num_allocated_clusters": 2, "esnap_clone": true, "thin_provision": true}
		inflate a => -32602 Invalid argument
		show @a => {"num_allocated_clusters": 2, "esnap_clone": true, "thin_provision": true}
		view a => "FF!!"
		snapshot a s
		view a => "FF!!"
		resize a 5
		view a => "FF!!0"
	`},
	{"what hangs on a snapshot as long as the external bdev reads zeros beyond it, until that is deleted", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		snapshot a s
		resize a 4
		write a 2 A
		view a => "FFA0"
		delete s
		view a => "FFA!"
		decouple a => -32602 Invalid argument
		view a => "FFA!"
		resize a 3
		decouple a => true
		view a => "FFA"
	`},
	{"what hangs on an esnap clone's snapshot cannot be decoupled or detached, and yet the clusters are copied", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		write a 1 A
		snapshot a s
		fork: detach a => -32602 No such file or directory
		decouple a => -32602 No such file or directory
		show @a => {"base_snapshot": "s", "num_allocated_clusters": 1}
		view a => "FA"
	`},
	{"refusals of an esnap clone", `
		file ~f 2 F
		aio ~x ~f
		create a 1
		bdev_lvol_clone_bdev bdev=~x lvs_name=none clone_name=c => -32602 lvs does not exist
		bdev_lvol_clone_bdev bdev=~none lvs_name=STORE clone_name=c => -32602 bdev does not exist
		bdev_lvol_clone_bdev bdev=@a lvs_name=STORE clone_name=c => -32602 bdev is an lvol in same lvs as clone; use bdev_lvol_clone instead
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a => -32602 File exists
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE => -32603 spdk_json_decode_object failed
	`},
	{"a snapshot of an esnap clone takes over what it reads through to, and can be grafted", `
		file ~f 2 F
		aio ~x ~f
		create b 2
		write b 0 B
		snapshot b base
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		write a 1 A
		snapshot a s
		show @s => {"esnap_clone": true, "clone": false}
		show @a => {"esnap_clone": false, "base_snapshot": "s"}
		fork: detach s => -32602 Invalid argument
		set_parent s base => true
		show @s => {"esnap_clone": false, "base_snapshot": "base", "external_snapshot_name": null}
		view a => "BA"
		bdev_aio_delete name=~x => true
	`},
	{"without its external bdev an esnap clone, and what hangs on it, is degraded; with it, whole again", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		write a 1 A
		snapshot a s
		restart
		names => ["a", "s"]
		lvol a => {"is_degraded": true, "is_esnap_clone": false}
		lvol s => {"is_degraded": true, "is_esnap_clone": true}
		show @a => -19 No such device
		show @s => -19 No such device
		create a 1 => -17 File exists
		resize a 4 => -19 No such device
		aio ~x ~f
		settle @a
		lvol a => {"is_degraded": false}
		view a => "FA"
	`},
	{"a degraded lvol can be deleted, leaf first", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		snapshot a s
		restart
		delete a => true
		delete s => true
		names => []
	`},
	{"an external bdev is not deleted while an esnap clone has it open", `
		file ~f 2 F
		aio ~x ~f
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=a
		bdev_aio_delete name=~x => no answer
	`},
	{"who reads through to a bdev keeps others from writing to it", `
		file ~f 2 F
		aio ~x ~f
		create a 2
		write a 0 A
		snapshot a s
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=c
		copy @s ~x => -32602 Operation not permitted
		subsystem NQN
		nvmf_subsystem_add_ns nqn=NQN namespace={"bdev_name":"~x"} => -32602 Invalid parameters
		drop NQN
		delete c => true
		show ~x => {"claimed": false}
	`},
	{"an esnap clone of a bdev that somebody has is made, degraded, and its delete crashes the target", `
		file ~f 2 F
		aio ~x ~f
		subsystem NQN
		nvmf_subsystem_add_ns nqn=NQN namespace={"bdev_name":"~x"} => 1
		bdev_lvol_clone_bdev bdev=~x lvs_name=STORE clone_name=c
		lvol c => {"is_degraded": true, "is_esnap_clone": true}
		show @c => -19 No such device
		show ~x => {"claim_type": "exclusive_write"}
		delete c => dies
	`},
	{"the same with the disk of an lvstore", `
		bdev_lvol_clone_bdev bdev=aio-STORE lvs_name=STORE clone_name=c
		lvol c => {"is_degraded": true}
		delete c => dies
	`},
}
