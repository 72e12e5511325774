package simtarget

import "syscall"

type setXattrParams struct {
	Name  string `json:"name"`
	Key   string `json:"xattr_name"`
	Value string `json:"xattr_value"`
}

func setXattr(t *Target, r *request, p *setXattrParams) {
	l := t.findLvol(r, p.Name)
	if l == nil {
		return
	}
	if l.readOnly() {
		r.errnoAs(codeInvalidParams, syscall.EPERM)
		return
	}
	if l.xattrs == nil {
		l.xattrs = make(map[string]string)
	}
	l.xattrs[p.Key] = p.Value
	t.later(func() {
		l.keep()
		r.result(true)
	})
}

type getXattrParams struct {
	Name string `json:"name"`
	Key  string `json:"xattr_name"`
}

func getXattr(t *Target, r *request, p *getXattrParams) {
	l := t.findLvol(r, p.Name)
	if l == nil {
		return
	}
	value, there := l.xattr(p.Key)
	if !there {
		r.errnoAs(codeInternalError, syscall.ENOENT)
		return
	}
	r.result(value)
}

// xattr knows what the lvstore keeps among them, too.
func (l *lvol) xattr(key string) (string, bool) {
	if value, there := l.xattrs[key]; there {
		return value, true
	}
	switch key {
	case "name":
		return l.name, true
	case "uuid":
		return l.uuid, true
	case "creation_time":
		return l.created, true
	}
	return "", false
}
