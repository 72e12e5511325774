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

func detachController(t *Target, r *request, p *detachControllerParams) (any, error) {
	c := t.controllers[p.Name]
	if c == nil {
		return nil, syscall.ENODEV
	}
	if p.Port != "" && len(c.paths) > 1 {
		return c.detachPath(r, net.JoinHostPort(p.Address, p.Port))
	}
	if c.hangs() {
		t.after(keepAlive, func() {
			c.detach()
			r.conclude(nil, syscall.ETIMEDOUT)
		})
		return nil, errLater
	}
	return r.later(func() (any, error) {
		c.detach()
		return true, nil
	})
}

// detachPath leaves the controller with its other paths.
func (c *controller) detachPath(r *request, key string) (any, error) {
	i := slices.IndexFunc(c.paths, func(one *path) bool { return one.trid.key() == key })
	if i < 0 {
		return nil, syscall.ENODEV
	}
	return r.later(func() (any, error) {
		c.paths = slices.Delete(c.paths, i, i+1)
		c.rescan()
		return true, nil
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

type getControllersParams struct {
	Name string `json:"name" optional:"true"`
}

func getControllers(t *Target, r *request, p *getControllersParams) (any, error) {
	listed := t.attached
	if p.Name != "" {
		c := t.controllers[p.Name]
		if c == nil {
			return nil, refusal(int(syscall.EINVAL), "Controller %s does not exist", p.Name) // positive, indeed
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
	return infos, nil
}
