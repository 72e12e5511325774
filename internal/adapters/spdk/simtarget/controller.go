package simtarget

import (
	"errors"
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
	trid   trid
	host   string
	id     int
	loss   time.Duration // how long it may be unreachable; 0: forever
	bdevs  map[uint32]*bdev
	gone   bool
}

const nvmeProduct = "NVMe disk"

// subsystem is the other end, while it can be reached.
func (c *controller) subsystem() *subsystem {
	l := c.target.fabric.listeners[c.trid.key()]
	if l == nil || c.gone {
		return nil
	}
	s := l.target.subsystems[c.trid.NQN]
	if s == nil || !s.admits(c.host) || !slices.Contains(s.listeners, l) {
		return nil
	}
	return s
}

func (c *controller) alive() bool { return c.subsystem() != nil }

// stands reports whether the other end hangs.
func (c *controller) stands() bool {
	s := c.subsystem()
	return s != nil && s.target.hangs
}

// namespace is the bdev behind an NSID now. It need not be the one that was there
// when the controller was attached.
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
	Mode    string `json:"multipath" optional:"true"`
}

func (attachParams) ignores() []string {
	return []string{
		"priority", "hostaddr", "hostsvcid", "prchk_reftag", "prchk_guard", "hdgst", "ddgst",
		"fabrics_connect_timeout_us", "num_io_queues", "reconnect_delay_sec", "fast_io_fail_timeout_sec",
		"psk", "max_bdevs", "dhchap_key", "dhchap_ctrlr_key", "allow_unrecognized_csi",
	}
}

func attachController(t *Target, r *request, p *attachParams) {
	if !strings.EqualFold(p.Type, "TCP") {
		r.refuse(-int(syscall.EINVAL), "Failed to parse trtype: %s", p.Type)
		return
	}
	at, ok := addressParam{Type: p.Type, Family: p.Family, Address: p.Address, Port: p.Port}.trid()
	if !ok {
		r.refuse(-int(syscall.EINVAL), "Failed to parse adrfam: %s", p.Family)
		return
	}
	at.NQN = p.NQN
	if p.Host == "" {
		p.Host = uuidNQN + newUUID()
	}
	if other := t.controllers[p.Name]; other != nil {
		if other.trid.key() == at.key() {
			r.refuse(-int(syscall.EALREADY), "A controller named %s already exists with the specified network path", p.Name)
		} else {
			r.refuse(-int(syscall.EALREADY), "A controller named %s already exists and multipath is disabled", p.Name)
		}
		return
	}
	c := &controller{target: t, name: p.Name, trid: at, host: p.Host, bdevs: make(map[uint32]*bdev)}
	if p.Loss > 0 {
		c.loss = time.Duration(p.Loss) * time.Second
	}
	t.later(func() { c.connect(r) })
}

// connect answers with the bdevs of the namespaces that are there.
func (c *controller) connect(r *request) {
	t := c.target
	if t.fabric.listeners[c.trid.key()] == nil {
		if t.config.Flavour == Upstream {
			r.errno(syscall.EIO)
		} else {
			r.errno(syscall.ENODEV)
		}
		return
	}
	switch {
	case !c.alive():
		r.errno(syscall.EIO)
		return
	case c.stands():
		t.after(keepAlive, func() { r.errno(syscall.EIO) })
		return
	case t.controllers[c.name] != nil:
		r.refuse(-int(syscall.EALREADY), "A controller named %s already exists with the specified network path", c.name)
		return
	}
	other := c.subsystem().target
	other.cntlid++
	c.id = other.cntlid
	t.controllers[c.name] = c
	t.attached = append(t.attached, c)
	c.rescan()
	names := []string{}
	for _, nsid := range c.subsystem().inOrderNSIDs() {
		if b := c.bdevs[nsid]; b != nil {
			names = append(names, b.name)
		}
	}
	r.result(names)
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
				"trid": c.trid,
				"ctrlr_data": map[string]any{
					"cntlid": c.id, "vendor_id": "0x8086", "model_number": s.model, "serial_number": s.serial,
					"firmware_revision": "24.09", "subnqn": s.nqn, "multi_ctrlr": true, "ana_reporting": false,
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
	}
}

// remoteNamespace is a namespace of some target, by NSID.
type remoteNamespace struct {
	controller *controller
	nsid       uint32
}

var errUnreachable = errors.New("the namespace cannot be reached")

func (n remoteNamespace) ReadAt(p []byte, offset int64) (int, error) {
	b := n.controller.namespace(n.nsid)
	if b == nil {
		return 0, errUnreachable
	}
	return len(p), b.read(p, uint64(offset))
}

func (n remoteNamespace) WriteAt(p []byte, offset int64) (int, error) {
	b := n.controller.namespace(n.nsid)
	if b == nil {
		return 0, errUnreachable
	}
	return len(p), b.write(p, uint64(offset))
}

type detachControllerParams struct {
	Name    string `json:"name"`
	Type    string `json:"trtype" optional:"true"`
	Family  string `json:"adrfam" optional:"true"`
	Address string `json:"traddr" optional:"true"`
	Port    string `json:"trsvcid" optional:"true"`
	NQN     string `json:"subnqn" optional:"true"`
	Host    string `json:"hostaddr" optional:"true"`
	Service string `json:"hostsvcid" optional:"true"`
}

func detachController(t *Target, r *request, p *detachControllerParams) {
	c := t.controllers[p.Name]
	if c == nil {
		r.errno(syscall.ENODEV)
		return
	}
	if c.stands() {
		t.after(keepAlive, func() {
			c.detach()
			r.errno(syscall.ETIMEDOUT)
		})
		return
	}
	t.later(func() {
		c.detach()
		r.result(true)
	})
}

func (c *controller) detach() {
	if c.gone {
		return
	}
	c.gone = true
	delete(c.target.controllers, c.name)
	c.target.attached = slices.DeleteFunc(c.target.attached, func(other *controller) bool { return other == c })
	for nsid, b := range c.bdevs {
		delete(c.bdevs, nsid)
		c.target.unregister(b)
	}
}

// controllerInfo is what bdev_nvme_get_controllers lists.
type controllerInfo struct {
	Name  string     `json:"name"`
	Paths []pathInfo `json:"ctrlrs"`
}

type pathInfo struct {
	State  string `json:"state"`
	Trid   trid   `json:"trid"`
	CntlID int    `json:"cntlid"`
	Host   struct {
		NQN     string `json:"nqn"`
		Address string `json:"addr"`
		Service string `json:"svcid"`
	} `json:"host"`
}

func getControllers(t *Target, r *request) {
	var p struct {
		Name string `json:"name" optional:"true"`
	}
	if r.params != nil && !r.decode(&p) {
		return
	}
	listed := t.attached
	if p.Name != "" {
		c := t.controllers[p.Name]
		if c == nil {
			r.refuse(int(syscall.EINVAL), "Controller %s does not exist", p.Name) // positive, indeed
			return
		}
		listed = []*controller{c}
	}
	infos := []controllerInfo{}
	for _, c := range listed {
		path := pathInfo{State: "enabled", Trid: c.trid, CntlID: c.id}
		if !c.alive() {
			path.State = "resetting"
		}
		path.Host.NQN = c.host
		infos = append(infos, controllerInfo{c.name, []pathInfo{path}})
	}
	r.result(infos)
}

// changed has those who are attached to the subsystem notice that, a moment later.
func (s *subsystem) changed() {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.attached {
			if c.trid.NQN == s.nqn && c.subsystem() == s {
				t.after(noticing, c.rescan)
			}
		}
	}
}

// lost has those who are attached give up after a while.
func (s *subsystem) lost() {
	for _, t := range s.target.fabric.targets {
		for _, c := range t.attached {
			if c.trid.NQN == s.nqn && c.loss > 0 {
				t.after(c.loss, c.giveUp)
			}
		}
	}
}

func (c *controller) giveUp() {
	if !c.alive() {
		c.detach()
	}
}

// attachedToItself reports whether a controller of the subsystem's own target is
// attached to it.
func (t *Target) attachedToItself(s *subsystem) bool {
	return slices.ContainsFunc(t.attached, func(c *controller) bool { return c.subsystem() == s })
}
