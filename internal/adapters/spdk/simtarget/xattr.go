package simtarget

import "syscall"

type setXattrParams struct {
	Name  string `json:"name"`
	Key   string `json:"xattr_name"`
	Value string `json:"xattr_value"`
}

func setXattr(t *Target, r *request, p *setXattrParams) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	if l.readOnly() {
		return nil, as(codeInvalidParams, syscall.EPERM)
	}
	if l.xattrs == nil {
		l.xattrs = make(map[string]string)
	}
	l.xattrs[p.Key] = p.Value
	return r.later(func() (any, error) {
		l.keep()
		return true, nil
	})
}

type getXattrParams struct {
	Name string `json:"name"`
	Key  string `json:"xattr_name"`
}

func getXattr(t *Target, r *request, p *getXattrParams) (any, error) {
	l, err := t.findLvol(p.Name)
	if err != nil {
		return nil, err
	}
	value, there := l.xattr(p.Key)
	if !there {
		return nil, as(codeInternalError, syscall.ENOENT)
	}
	return value, nil
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
