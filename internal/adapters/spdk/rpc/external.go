package rpc

// External snapshots: an lvol that reads through to a bdev outside of its lvstore, an
// "esnap clone" in SPDK's words.

// cloneBdevRequest is of bdev_lvol_clone_bdev; go-spdk-helper has no type for it.
type cloneBdevRequest struct {
	Bdev    string `json:"bdev"`
	Lvstore string `json:"lvs_name"`
	Name    string `json:"clone_name"`
}

// CloneBdev makes an lvol in the lvstore of that name that reads through to a bdev. Its
// result is the lvol's UUID. Of a bdev that is being examined, as one is that has just
// appeared, it answers success and makes a degraded lvol: call WaitForExamine first.
func CloneBdev(bdev, lvstore, name string) *CallOf[string] {
	return changing[string]("bdev_lvol_clone_bdev", cloneBdevRequest{bdev, lvstore, name})
}

// setParentBdevRequest is of bdev_lvol_set_parent_bdev; go-spdk-helper has no type for it.
type setParentBdevRequest struct {
	Lvol string `json:"lvol_name"`
	Bdev string `json:"parent_name"`
}

// SetParentBdev has an lvol read through to a bdev outside of its lvstore, instead of to
// what it hung on.
func SetParentBdev(lvol, bdev string) *Call {
	return change(methodSetParentBdev, setParentBdevRequest{lvol, bdev})
}

// WaitForExamine answers when no bdev is being examined, which claims it.
func WaitForExamine() *Call { return change(methodWaitForExamine, nil) }
