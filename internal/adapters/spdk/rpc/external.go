package rpc

// External snapshots: an lvol that reads through to a bdev outside of its lvstore, an
// "esnap clone" in SPDK's words.

// setParentBdevRequest is of bdev_lvol_set_parent_bdev; go-spdk-helper has no type for it.
type setParentBdevRequest struct {
	Lvol string `json:"lvol_name"`
	Bdev string `json:"parent_name"`
}

// SetParentBdev has an lvol read through to a bdev outside of its lvstore, instead of to
// its parent.
func SetParentBdev(lvol, bdev string) *Call {
	return change(methodSetParentBdev, setParentBdevRequest{lvol, bdev})
}

// WaitForExamine answers when no bdev is being examined, which claims it.
func WaitForExamine() *Call { return change(methodWaitForExamine, nil) }
