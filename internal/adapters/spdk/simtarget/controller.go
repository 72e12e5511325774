package simtarget

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// How long things take that a target finds out by itself.
const (
	noticing  = time.Millisecond // a namespace that has come or gone
	keepAlive = 10 * time.Second // a target that hangs
)

// controller is a subsystem of some target of the fabric that this one is attached
// to.
type controller struct {
	target *Target
	name   string
	host   string
	paths  []*path       // the first one is used, the others are for failover
	loss   time.Duration // how long it may be unreachable; 0: forever
	fail   time.Duration // how long I/O waits meanwhile; 0: until the controller is gone
	lostAt time.Time     // since when it has been unreachable; zero: it is not
	bdevs  map[uint32]*bdev
	gone   bool
}

const nvmeProduct = "NVMe disk"

func (c *controller) subsystem() *subsystem { return c.paths[0].subsystem() }

func (c *controller) alive() bool { return c.paths[0].alive() }

// hangs reports whether the other end hangs.
func (c *controller) hangs() bool { return c.paths[0].hangs() }

// namespace is the bdev behind an NSID now. It need not be the one that was there
// when the controller was attached. nil: it cannot be reached.
func (c *controller) namespace(nsid uint32) *bdev {
	s := c.subsystem()
	if s == nil || s.target.hangs || s.namespaces[nsid] == nil {
		return nil
	}
	return s.namespaces[nsid].bdev
}

type attachParams struct {
	Name    string `json:"name"`
	Type    string `json:"trtype"`
	Address string `json:"traddr"`
	Family  string `json:"adrfam" optional:"true"`
	Port    string `json:"trsvcid" optional:"true"`
	NQN     string `json:"subnqn" optional:"true"`
	Host    string `json:"hostnqn" optional:"true"`
	Loss    int32  `json:"ctrlr_loss_timeout_sec" optional:"true"`
	Delay   uint32 `json:"reconnect_delay_sec" optional:"true"`
	Fail    uint32 `json:"fast_io_fail_timeout_sec" optional:"true"`
	Mode    string `json:"multipath" optional:"true"`
}

func (attachParams) ignores() []string {
	return []string{
		"priority", "hostaddr", "hostsvcid", "prchk_reftag", "prchk_guard", "hdgst", "ddgst",
		"fabrics_connect_timeout_us", "num_io_queues",
		"psk", "max_bdevs", "dhchap_key", "dhchap_ctrlr_key", "allow_unrecognized_csi",
	}
}

func attachController(t *Target, r *request, p *attachParams) (any, error) {
	if !strings.EqualFold(p.Type, "TCP") {
		return nil, refusal(-int(syscall.EINVAL), "Failed to parse trtype: %s", p.Type)
	}
	at, ok := addressParam{Type: p.Type, Family: p.Family, Address: p.Address, Port: p.Port}.trid()
	if !ok {
		return nil, refusal(-int(syscall.EINVAL), "Failed to parse adrfam: %s", p.Family)
	}
	at.NQN = p.NQN
	if p.Host == "" {
		p.Host = t.hostNQN
	}
	if other := t.controllers[p.Name]; other != nil {
		return other.addPath(r, p, at)
	}
	c := &controller{target: t, name: p.Name, host: p.Host, bdevs: make(map[uint32]*bdev)}
	c.paths = []*path{{controller: c, trid: at}}
	if p.Loss > 0 {
		c.loss = time.Duration(p.Loss) * time.Second
	}
	c.fail = time.Duration(p.Fail) * time.Second
	return r.later(func() (any, error) { return c.connect(r) })
}

// connect answers with the bdevs of the namespaces that are there.
func (c *controller) connect(r *request) (any, error) {
	t := c.target
	if err := c.paths[0].connects(r); err != nil {
		return nil, err
	}
	if t.controllers[c.name] != nil {
		return nil, refusal(-int(syscall.EALREADY), "A controller named %s already exists with the specified network path", c.name)
	}
	t.controllers[c.name] = c
	t.attached = append(t.attached, c)
	c.rescan()
	t.whenExamined(func() { r.conclude(c.listedBdevs(), nil) })
	return nil, errLater
}

// listedBdevs are the names of those that its namespaces have now.
func (c *controller) listedBdevs() []string {
	names := []string{}
	if s := c.subsystem(); s != nil {
		for _, nsid := range s.inOrderNSIDs() {
			if b := c.bdevs[nsid]; b != nil {
				names = append(names, b.name)
			}
		}
	}
	return names
}

// rescan shows the namespaces that are there, and no others. One whose NSID has
// another bdev now stays as it is.
func (c *controller) rescan() {
	s := c.subsystem()
	if s == nil || c.gone {
		return
	}
	for nsid, b := range c.bdevs {
		if s.namespaces[nsid] == nil {
			delete(c.bdevs, nsid)
			c.target.unregister(b)
		}
	}
	for _, nsid := range s.inOrderNSIDs() {
		if c.bdevs[nsid] == nil {
			c.show(s, s.namespaces[nsid])
		}
	}
}

// show registers a namespace. Its UUID is the NGUID; where a bdev has that already,
// as an lvol of the same target has by default, it is left out without a word.
func (c *controller) show(s *subsystem, ns *namespace) {
	uuid := strings.ToLower(ns.nguid)
	uuid = strings.Join([]string{uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]}, "-")
	b := &bdev{
		name: fmt.Sprintf("%sn%d", c.name, ns.nsid), uuid: uuid, aliases: []string{uuid}, product: nvmeProduct,
		blockSize: ns.bdev.blockSize, blocks: ns.bdev.blocks, nvme: c, nsid: ns.nsid,
		device: remoteNamespace{c, ns.nsid},
		io: ioTypes{
			Read: true, Write: true, Unmap: ns.bdev.io.Unmap, Flush: true, Reset: true, NvmeAdmin: true, NvmeIO: true, WriteZeroes: true,
			Compare: true, CompareWrite: true, Abort: true, Copy: true,
		},
	}
	b.specific = func() map[string]any {
		return map[string]any{
			"nvme": []any{map[string]any{
				"trid": c.paths[0].trid,
				"ctrlr_data": map[string]any{
					"cntlid": c.paths[0].id, "vendor_id": "0x8086", "model_number": s.model, "serial_number": s.serial,
					"firmware_revision": "24.09", "subnqn": s.nqn, "multi_ctrlr": true, "ana_reporting": s.ana,
					"oacs": map[string]int{"security": 0, "format": 0, "firmware": 0, "ns_manage": 0},
				},
				"vs":      map[string]string{"nvme_version": "1.3"},
				"ns_data": map[string]any{"id": ns.nsid, "can_share": true},
			}},
			"mp_policy": "active_passive",
		}
	}
	if c.target.register(b) == 0 {
		c.bdevs[ns.nsid] = b
		c.target.examineNVMe(b)
	}
}

// changed has those who are attached to the subsystem notice that, a moment later.
func (s *subsystem) changed() {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.attached {
			if c.subsystem() == s {
				t.after(noticing, c.rescan)
			}
		}
	}
}

// attachedToItself reports whether a controller of the subsystem's own target is
// attached to it.
func (t *Target) attachedToItself(s *subsystem) bool {
	return slices.ContainsFunc(t.attached, func(c *controller) bool { return c.subsystem() == s })
}
