package facts

var stores = []fact{
	{"an lvstore on a disk that has one, of a name that is taken, on a bdev that is missing", `
		bdev_lvol_create_lvstore bdev_name=aio-STORE lvs_name=other cluster_sz=1048576 => -1 Operation not permitted
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=STORE cluster_sz=1048576 => -17 File exists
		bdev_lvol_create_lvstore bdev_name=~none lvs_name=other cluster_sz=1048576 => -19 No such device
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=other cluster_sz=512 => -22 Invalid argument
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=other clear_method=burn => -22 Invalid clear_method parameter
		upstream: bdev_lvol_create_lvstore bdev_name=~x lvs_name=x*64 cluster_sz=1048576 => -22 Invalid argument
		fork: bdev_lvol_create_lvstore bdev_name=~x lvs_name=x*256 cluster_sz=1048576 => -22 Invalid argument
	`},
	{"what an lvstore lists", `
		bdev_lvol_get_lvstores lvs_name=STORE => [{"name": "STORE", "base_bdev": "aio-STORE", "total_data_clusters": 65, "free_clusters": 65, "block_size": 4096, "cluster_size": 1048576}]
		bdev_get_bdevs name=aio-STORE => [{"claimed": true, "claim_type": "read_many_write_one", "product_name": "AIO disk"}]
	`},
	{"made, renamed, filled, and deleted", `
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~s cluster_sz=1048576
		bdev_lvol_create lvs_name=~s lvol_name=a size_in_mib=2 => any
		bdev_lvol_rename_lvstore old_name=~s new_name=~t => true
		bdev_lvol_rename_lvstore old_name=~s new_name=~u => -2 Lvol store ~s not found
		bdev_lvol_rename_lvstore old_name=~t new_name=STORE => -32602 File exists
		get ~t/a
		get ~s/a => -19 No such device
		bdev_lvol_delete_lvstore lvs_name=~t => true
		get ~t/a => -19 No such device
		show ~x => {"claimed": false}
		bdev_lvol_delete_lvstore lvs_name=~t => -19 No such device
		bdev_lvol_delete_lvstore => -32603 spdk_json_decode_object failed
		bdev_lvol_delete_lvstore lvs_name=~t uuid=~t => -22 Invalid argument
		bdev_aio_delete name=~x => true
		bdev_aio_delete name=~x => -19 No such device
	`},
	{"an lvstore comes and goes with its disk", `
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~s cluster_sz=1048576
		bdev_lvol_create lvs_name=~s lvol_name=a size_in_mib=2 thin_provision=true
		bdev_aio_delete name=~x => true
		get ~s/a => -19 No such device
		aio ~y ~f
		settle ~s/a
		bdev_lvol_get_lvstores lvs_name=~s => [{"base_bdev": "~y"}]
	`},
	{"a disk on which a snapshot was renamed under two clones never goes, on the fork", `
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~s cluster_sz=1048576
		bdev_lvol_create lvs_name=~s lvol_name=a size_in_mib=2 thin_provision=true
		bdev_lvol_snapshot lvol_name=~s/a snapshot_name=s
		bdev_lvol_clone snapshot_name=~s/s clone_name=b
		fork: bdev_lvol_rename old_name=~s/s new_name=t => true
		fork: bdev_aio_delete name=~x => no answer
		upstream: bdev_lvol_rename old_name=~s/s new_name=t => -32602 Operation not permitted
		upstream: bdev_aio_delete name=~x => true
	`},
	{"nor does one on which a snapshot was renamed whose clone is a snapshot, on the fork", `
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~s cluster_sz=1048576
		bdev_lvol_create lvs_name=~s lvol_name=a size_in_mib=2 thin_provision=true
		bdev_lvol_snapshot lvol_name=~s/a snapshot_name=s
		bdev_lvol_snapshot lvol_name=~s/a snapshot_name=s2
		fork: bdev_lvol_rename old_name=~s/s new_name=t => true
		fork: bdev_aio_delete name=~x => no answer
		upstream: bdev_aio_delete name=~x => true
	`},
	{"it goes where there is one clone, a head, or the snapshot was opened since", `
		file ~f 8 F
		aio ~x ~f
		bdev_lvol_create_lvstore bdev_name=~x lvs_name=~s cluster_sz=1048576
		bdev_lvol_create lvs_name=~s lvol_name=a size_in_mib=2 thin_provision=true
		bdev_lvol_snapshot lvol_name=~s/a snapshot_name=s
		fork: bdev_lvol_rename old_name=~s/s new_name=t => true
		fork: bdev_aio_delete name=~x => true
		fork: aio ~x ~f
		fork: settle ~s/a
		fork: bdev_lvol_rename old_name=~s/t new_name=u => true
		fork: bdev_lvol_clone snapshot_name=~s/u clone_name=b
		bdev_aio_delete name=~x => true
	`},
	{"a file that is not there, a directory, a name that is taken, a size that does not fit", `
		bdev_aio_create name=~x filename=/nowhere/file block_size=4096 => -2 No such file or directory
		bdev_aio_create name=~x filename=/tmp block_size=4096 => -21 Is a directory
		file ~f 1 F
		aio ~x ~f
		aio ~x ~f => -17 File exists
		bdev_aio_create name=~y filename=/dev/null block_size=1000 => -22 Invalid argument
		bdev_null_create name=~n num_blocks=1 block_size=4096 => "~n"
		bdev_null_create name=~n num_blocks=1 block_size=4096 => -17 File exists
		bdev_null_delete name=~n => true
		bdev_null_delete name=~n => -19 No such device
	`},
}
