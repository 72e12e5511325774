package simtarget

import (
	"net"
	"slices"
	"syscall"
)

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
	if p.Port != "" && len(c.paths) > 1 {
		c.detachPath(r, net.JoinHostPort(p.Address, p.Port))
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

// detachPath leaves the controller with its other paths.
func (c *controller) detachPath(r *request, key string) {
	i := slices.IndexFunc(c.paths, func(one *path) bool { return one.trid.key() == key })
	if i < 0 {
		r.errno(syscall.ENODEV)
		return
	}
	c.target.later(func() {
		c.paths = slices.Delete(c.paths, i, i+1)
		c.rescan()
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
	Others []trid `json:"alternate_trids,omitempty"`
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
		used := pathInfo{State: "enabled", Trid: c.paths[0].trid, CntlID: c.paths[0].id}
		if !c.alive() {
			used.State = "resetting"
		}
		for _, other := range c.paths[1:] {
			used.Others = append(used.Others, other.trid)
		}
		used.Host.NQN = c.host
		infos = append(infos, controllerInfo{c.name, []pathInfo{used}})
	}
	r.result(infos)
}
