package facts

var fabrics = []fact{
	{"a transport twice", `
		subsystem NQN
		listen NQN
		nvmf_create_transport trtype=TCP => -32603 Transport type 'TCP' already exists
		nvmf_create_transport trtype=tcp => -32603 Transport type 'tcp' already exists
		nvmf_create_transport trtype=TCP acceptor_poll_rate=1000 => -32603 Transport type 'TCP' already exists
		nvmf_create_transport trtype=FOO => -32602 Invalid transport type 'FOO'
		drop NQN => true
	`},
	{"a subsystem twice, and one whose name is none", `
		subsystem NQN => true
		subsystem nqn.x => -32603 Unable to create subsystem nqn.x
		nvmf_create_subsystem nqn=NQN serial_number=x*21 => any
		drop NQN => true
		drop NQN => -32602 Invalid parameters
		nvmf_create_subsystem nqn=NQN serial_number=x*21 => -32602 Invalid SN xxxxxxxxxxxxxxxxxxxxx
		nvmf_get_subsystems nqn=NQN => -19 No such device
	`},
	{"what a subsystem lists", `
		create a 2
		nvmf_create_subsystem nqn=NQN serial_number=0badcafe model_number=rebuild max_namespaces=512 => true
		export NQN a 3 abcdef0123456789abcdef0123456789 => 3
		nvmf_subsystem_add_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => true
		nvmf_get_subsystems nqn=NQN => [{"subtype": "NVMe", "allow_any_host": false, "serial_number": "0badcafe", "model_number": "rebuild", "max_namespaces": 512, "listen_addresses": [], "hosts": [{"nqn": "nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666"}], "namespaces": [{"nsid": 3, "nguid": "ABCDEF0123456789ABCDEF0123456789"}]}]
		show @a => {"claimed": true, "claim_type": "exclusive_write"}
		drop NQN => true
		show @a => {"claimed": false}
	`},
	{"hosts", `
		nvmf_create_subsystem nqn=NQN => true
		nvmf_subsystem_add_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => true
		nvmf_subsystem_add_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => -32603 Internal error
		nvmf_subsystem_add_host nqn=NQN host=short => -32603 Internal error
		nvmf_subsystem_add_host nqn=NQN-none host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => -32602 Invalid parameters
		nvmf_subsystem_remove_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => true
		nvmf_subsystem_remove_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => -32603 Internal error
		drop NQN
	`},
	{"a listener twice, and on an address that the host has not", `
		subsystem NQN
		listen NQN
		nvmf_subsystem_add_listener nqn=NQN listen_address={"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"PORT"} => -32602 Invalid parameters
		nvmf_subsystem_add_listener nqn=NQN listen_address={"trtype":"TCP","adrfam":"IPv4","traddr":"203.0.113.7","trsvcid":"PORT"} => -32602 Invalid parameters
		nvmf_subsystem_add_listener nqn=NQN-none listen_address={"trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":"PORT"} => -32602 Invalid parameters
		B: subsystem NQN
		B: nvmf_create_transport trtype=TCP => any
		drop NQN
		B: drop NQN
	`},
	{"namespaces: a number that is taken or too large, a bdev that is missing or claimed", `
		create a 1
		create b 1
		subsystem NQN
		export NQN a 1 abcdef0123456789abcdef0123456781 => 1
		export NQN a 2 abcdef0123456789abcdef0123456782 => -32602 Invalid parameters
		export NQN b 1 abcdef0123456789abcdef0123456783 => -32602 Invalid parameters
		export NQN b 33 abcdef0123456789abcdef0123456784 => -32602 Invalid parameters
		export NQN none 2 abcdef0123456789abcdef0123456785 => -32602 Invalid parameters
		nvmf_subsystem_add_ns nqn=NQN namespace={"bdev_name":"@b"} => 2
		withdraw NQN 9 => -32602 Invalid parameters
		withdraw NQN-none 1 => -32602 Invalid parameters
		withdraw NQN 1 ; snapshot a s => true ; any
		drop NQN
	`},
	{"an lvol that is exported can be deleted: the namespace goes", `
		create a 1
		subsystem NQN
		export NQN a 1 abcdef0123456789abcdef0123456789
		delete a => true
		nvmf_get_subsystems nqn=NQN => [{"namespaces": []}]
		drop NQN
	`},
	{"an esnap clone whose external bdev went with its export still names it, and can be deleted once it was grafted", `
		B: create a 2
		B: write a 0 A
		B: snapshot a s
		B: subsystem NQN
		B: listen NQN
		B: export NQN s 1 abcdef0123456789abcdef0123456789
		attach ~c NQN B => ["~cn1"]
		create b 2
		snapshot b base
		bdev_wait_for_examine => any
		bdev_lvol_clone_bdev bdev=~cn1 lvs_name=STORE clone_name=head
		B: withdraw NQN 1
		settle -~cn1
		lvol head => {"is_degraded": false, "is_esnap_clone": true}
		show @head => {"esnap_clone": true, "external_snapshot_name": "abcdef01-2345-6789-abcd-ef0123456789"}
		set_parent head base => true
		delete head => true
		unattach ~c
		B: drop NQN
	`},
	{"the same, deleted as it is, crashes the target", `
		B: create a 2
		B: snapshot a s
		B: subsystem NQN
		B: listen NQN
		B: export NQN s 1 abcdef0123456789abcdef0123456789
		attach ~c NQN B => ["~cn1"]
		bdev_wait_for_examine => any
		bdev_lvol_clone_bdev bdev=~cn1 lvs_name=STORE clone_name=head
		B: withdraw NQN 1
		settle -~cn1
		delete head => dies
		B: drop NQN
	`},
	{"attach finds the namespaces that are there, and one that is added later", `
		B: create a 2
		B: create b 1
		B: subsystem NQN
		B: listen NQN
		attach ~c NQN B => []
		bdev_nvme_get_controllers name=~c => [{"name": "~c", "ctrlrs": [{"state": "enabled", "trid": {"trtype": "TCP", "traddr": "127.0.0.1"}}]}]
		B: export NQN a 1 abcdef0123456789abcdef0123456789 => 1
		settle ~cn1
		show ~cn1 => {"uuid": "abcdef01-2345-6789-abcd-ef0123456789", "num_blocks": 512, "product_name": "NVMe disk", "claimed": false}
		get abcdef01-2345-6789-abcd-ef0123456789
		B: export NQN b 2 abcdef0123456789abcdef0123456788 => 2
		settle ~cn2
		B: withdraw NQN 1 => true
		settle -~cn1
		attach ~c NQN B => -114 A controller named ~c already exists with the specified network path
		unattach ~c => true
		unattach ~c => -19 No such device
		bdev_nvme_get_controllers name=~c => 22 Controller ~c does not exist
		attach ~d NQN B => ["~dn2"]
		unattach ~d
		B: drop NQN
	`},
	{"attach to a closed port", `
		B: subsystem NQN
		B: listen NQN
		B: drop NQN
		fork: attach ~c NQN B => -19 No such device
		upstream: attach ~c NQN B => -5 Input/output error
	`},
	{"attach to a subsystem that is not there", `
		B: subsystem NQN
		B: listen NQN
		attach ~c NQN-none B => -5 Input/output error
		B: drop NQN
	`},
	{"only a host that was added may attach", `
		B: nvmf_create_subsystem nqn=NQN
		B: listen NQN
		B: nvmf_subsystem_add_host nqn=NQN host=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666
		attach ~c NQN B => -5 Input/output error
		attach ~c NQN B hostnqn=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455557777 => -5 Input/output error
		attach ~c NQN B hostnqn=nqn.2014-08.org.nvmexpress:uuid:6c1e3c5a-1111-4222-8333-444455556666 => []
		unattach ~c => true
		B: drop NQN
	`},
	{"within one target the default NGUID clashes, without a word", `
		create a 1
		create b 1
		subsystem NQN
		listen NQN
		nvmf_subsystem_add_ns nqn=NQN namespace={"bdev_name":"@a"} => 1
		export NQN b 2 abcdef0123456789abcdef0123456789 => 2
		attach ~c NQN A => ["~cn2"]
		unattach ~c => true
		drop NQN => true
	`},
	{"a target that is attached to itself hangs when a namespace is added", `
		create a 1
		subsystem NQN
		listen NQN
		attach ~c NQN A => []
		export NQN a 1 abcdef0123456789abcdef0123456789 => 1 or no answer
		rpc_get_methods => no answer
	`},
	{"everything about NVMe-oF is forgotten in a restart", `
		create a 1
		subsystem NQN
		listen NQN
		export NQN a 1 abcdef0123456789abcdef0123456789
		restart
		nvmf_get_subsystems nqn=NQN => -19 No such device
		bdev_nvme_get_controllers => []
		show @a => {"claimed": false}
	`},
}
