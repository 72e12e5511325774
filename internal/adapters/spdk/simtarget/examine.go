package simtarget

// A bdev that has just appeared is examined by those who might use it, and nobody else can claim
// it until that is over.

// examineNVMe examines a namespace that has appeared.
func (t *Target) examineNVMe(b *bdev) {
	t.appeared(b)
	b.examined = true
	t.examining++
	t.after(noticing, func() {
		b.examined = false
		t.examining--
	})
}

// whenExamined does something when nothing is examined any more.
func (t *Target) whenExamined(do func()) {
	if t.examining > 0 {
		t.after(noticing, func() { t.whenExamined(do) })
		return
	}
	do()
}

func waitForExamine(t *Target, r *request) (any, error) {
	t.later(func() { t.whenExamined(func() { r.conclude(true, nil) }) })
	return nil, errLater
}
