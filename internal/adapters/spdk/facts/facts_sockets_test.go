package facts

var sockets = []fact{
	{"bdevs are looked for by name, or waited for", `
		get ~none => -19 No such device
		bdev_get_bdevs name=~none timeout=20 => -110 Connection timed out
	`},
	{"the same key twice, or no object", `
		rpc_get_methods
		bdev_get_bdevs nome=x => -32603 spdk_json_decode_object failed
	`},
}
