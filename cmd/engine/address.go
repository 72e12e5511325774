package main

import (
	"net"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/rootgraft/rebuild/internal/adapters/spdk"
	"github.com/rootgraft/rebuild/internal/domain"
)

// address is where a replica is: a host, which is an lvstore of a target, and
// the replica's name on it.
type address struct {
	socket  string
	lvstore string
	replica string
	listen  spdk.Listen // zero: the adapter's default
}

const addressForm = "unix:///PATH/TO/spdk.sock?lvs=LVSTORE&replica=REPLICA[&listen=ADDR:PORT-PORT]"

func parseAddress(flag, text string) (address, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return address{}, badUsage("--%s is missing: expected %s", flag, addressForm)
	case err != nil || u.Scheme != "unix" || u.Host != "" || u.Path == "" || u.Fragment != "" || u.User != nil:
		return address{}, badUsage("--%s %q: expected %s", flag, text, addressForm)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, badUsage("--%s %q: expected %s", flag, text, addressForm)
	}
	a := address{socket: u.Path}
	listen := ""
	fields := map[string]*string{"lvs": &a.lvstore, "replica": &a.replica, "listen": &listen}
	keys := make([]string, 0, len(query))
	for key := range query {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		field, known := fields[key]
		if !known {
			return address{}, badUsage("--%s %q: unknown key %q: expected lvs, replica or listen", flag, text, key)
		}
		if len(query[key]) != 1 || strings.TrimSpace(query.Get(key)) == "" {
			return address{}, badUsage("--%s %q: expected one value for %s", flag, text, key)
		}
		*field = query.Get(key)
	}
	if a.lvstore == "" || a.replica == "" {
		return address{}, badUsage("--%s %q: lvs and replica are needed: expected %s", flag, text, addressForm)
	}
	if err := domain.CheckReplicaName(a.replica); err != nil {
		return address{}, badUsage("--%s %q: %v", flag, text, err)
	}
	if listen != "" {
		var ok bool
		if a.listen, ok = parseListen(listen); !ok {
			return address{}, badUsage("--%s %q: listen=%s: expected ADDR:PORT-PORT, such as 127.0.0.1:20001-20400", flag, text, listen)
		}
	}
	return a, nil
}

// parseListen reads ADDR:PORT-PORT; an IPv6 address stands in brackets.
func parseListen(text string) (spdk.Listen, bool) {
	host, ports, err := net.SplitHostPort(text)
	if err != nil || net.ParseIP(host) == nil {
		return spdk.Listen{}, false
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil || from == 0 {
		return spdk.Listen{}, false
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil || to < from {
		return spdk.Listen{}, false
	}
	return spdk.Listen{Address: host, First: uint16(from), Last: uint16(to)}, true
}
