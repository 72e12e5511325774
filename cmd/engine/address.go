package main

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/spdkhost"
)

// address says where a replica is: an lvstore of a target, and the replica's name.
type address struct {
	socket  string
	lvstore string
	replica string
	listen  spdkhost.Listen // zero: the adapter's default
}

const (
	addressForm     = "unix:///PATH/TO/spdk.sock?lvs=LVSTORE&replica=REPLICA[&listen=ADDR:PORT-PORT]"
	hostAddressForm = "unix:///PATH/TO/spdk.sock?lvs=LVSTORE"
)

// names says whether an address must name a replica.
type names int

const (
	namesReplica   names = iota // it must
	mayNameReplica              // without a name it means everything on the host
	namesNoReplica              // it must not
)

// parseAddress parses the address in a flag.
func parseAddress(flag, text string) (address, error) {
	return readAddress("--"+flag, text, namesReplica)
}

// parseAddresses parses the addresses in a flag that is given several times.
func parseAddresses(flag string, texts []string) (all []address, err error) {
	if len(texts) == 0 {
		texts = []string{""} // its error says what is missing
	}
	for _, text := range texts {
		at, err := parseAddress(flag, text)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(all, at):
			return nil, badUsage("--%s %q: given twice", flag, text)
		}
		all = append(all, at)
	}
	return all, nil
}

// readAddress parses an address; what is the flag or argument, for errors.
func readAddress(what, text string, need names) (address, error) {
	form := addressForm
	if need == namesNoReplica {
		form = hostAddressForm
	}
	var a address
	var listen string
	var err error
	a.socket, err = readUnixURL(what, text, form, map[string]*string{"lvs": &a.lvstore, "replica": &a.replica, "listen": &listen})
	if err != nil {
		return address{}, err
	}
	switch {
	case need == namesReplica && (a.lvstore == "" || a.replica == ""):
		return address{}, badUsage("%s %q: lvs and replica are required: expected %s", what, text, form)
	case a.lvstore == "":
		return address{}, badUsage("%s %q: lvs is required: expected %s", what, text, form)
	case need == namesNoReplica && a.replica != "":
		return address{}, badUsage("%s %q: expected a host, without replica: %s", what, text, form)
	}
	if a.replica != "" {
		if err := rebuild.CheckReplicaName(a.replica); err != nil {
			return address{}, badUsage("%s %q: %v", what, text, err)
		}
	}
	if listen != "" {
		var ok bool
		if a.listen, ok = parseListen(listen); !ok {
			return address{}, badUsage("%s %q: listen=%s: expected ADDR:PORT-PORT, such as 127.0.0.1:20001-20400", what, text, listen)
		}
		if err := a.listen.Check(); err != nil {
			return address{}, badUsage("%s %q: listen: %v, as ADDR:PORT-PORT", what, text, err)
		}
	}
	return a, nil
}

// readUnixURL parses the URL of a socket with fields, and returns the socket's path.
func readUnixURL(what, text, form string, fields map[string]*string) (path string, err error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "", badUsage("%s is missing: expected %s", what, form)
	case err != nil || u.Scheme != "unix" || u.Host != "" || u.Path == "" || u.Fragment != "" || u.User != nil:
		return "", badUsage("%s %q: expected %s", what, text, form)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", badUsage("%s %q: expected %s", what, text, form)
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		field, known := fields[key]
		if !known {
			return "", badUsage("%s %q: unknown key %q: expected %s", what, text, key, form)
		}
		if len(query[key]) != 1 || strings.TrimSpace(query.Get(key)) == "" {
			return "", badUsage("%s %q: expected one value for %s", what, text, key)
		}
		*field = query.Get(key)
	}
	return u.Path, nil
}

// parseListen parses ADDR:PORT-PORT, with an IPv6 address in brackets.
func parseListen(text string) (spdkhost.Listen, bool) {
	host, ports, err := net.SplitHostPort(text)
	if err != nil {
		return spdkhost.Listen{}, false
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil || from == 0 || host == "" {
		return spdkhost.Listen{}, false
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil || to < from {
		return spdkhost.Listen{}, false
	}
	return spdkhost.Listen{Address: host, First: uint16(from), Last: uint16(to)}, true
}
