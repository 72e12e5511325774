package simtarget

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

const (
	discoveryNQN      = "nqn.2014-08.org.nvmexpress.discovery"
	defaultSerial     = "00000000000000000000"
	defaultModel      = "SPDK bdev Controller"
	defaultNamespaces = 32
	longestNQN        = 223
	shortestNQN       = 11
)

// subsystem is one that the target exports bdevs by.
type subsystem struct {
	target     *Target
	nqn        string
	discovery  bool
	serial     string
	model      string
	anyHost    bool
	hosts      []string
	namespaces map[uint32]*namespace // by NSID
	most       uint32
	ana        bool                // it tells hosts the states of its listeners
	states     map[string]anaState // by a listener's address; missing: optimized
	leastID    int                 // of a controller
	mostID     int
	created    int // controllers, so far
	listeners  []*listener
	changes    []change // those that have begun
}

// namespace is an exported bdev.
type namespace struct {
	nsid  uint32
	bdev  *bdev
	nguid string // 32 hex digits, in capitals
	uuid  string
}

func (t *Target) addDiscovery() {
	t.addSubsystem(&subsystem{nqn: discoveryNQN, discovery: true, anyHost: true})
}

// addSubsystem keeps them by NQN, as SPDK does.
func (t *Target) addSubsystem(s *subsystem) {
	s.target, s.namespaces, s.states = t, make(map[uint32]*namespace), make(map[string]anaState)
	t.subsystems[s.nqn] = s
	t.inOrder = append(t.inOrder, s)
	slices.SortFunc(t.inOrder, func(a, b *subsystem) int { return cmp.Compare(a.nqn, b.nqn) })
}

// inOrderNSIDs are those in use, ascending.
func (s *subsystem) inOrderNSIDs() []uint32 { return slices.Sorted(maps.Keys(s.namespaces)) }

func (s *subsystem) admits(host string) bool { return s.anyHost || slices.Contains(s.hosts, host) }

const invalidParameters = "Invalid parameters"

var nqnForm = regexp.MustCompile(`^nqn\.\d{4}-\d{2}\.[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9][A-Za-z0-9-]*)*:.+$`)

const uuidNQN = "nqn.2014-08.org.nvmexpress:uuid:"

// isNQN is nvmf_nqn_is_valid.
func isNQN(nqn string) bool {
	if len(nqn) < shortestNQN || len(nqn) > longestNQN {
		return false
	}
	if uuid, ok := strings.CutPrefix(nqn, uuidNQN); ok {
		return isUUID(uuid)
	}
	return nqn == discoveryNQN || nqnForm.MatchString(nqn)
}

type createTransportParams struct {
	Type string `json:"trtype"`
}

func (createTransportParams) relaxed() {}

func createTransport(t *Target, r *request, p *createTransportParams) (any, error) {
	switch {
	case !strings.EqualFold(p.Type, "TCP"):
		return nil, refusal(codeInvalidParams, "Invalid transport type '%s'", p.Type)
	case t.transport:
		return nil, refusal(codeInternalError, "Transport type '%s' already exists", p.Type)
	}
	t.transport = true
	return r.later(func() (any, error) { return true, nil })
}

type createSubsystemParams struct {
	NQN     string  `json:"nqn"`
	Serial  *string `json:"serial_number" optional:"true"`
	Model   *string `json:"model_number" optional:"true"`
	AnyHost bool    `json:"allow_any_host" optional:"true"`
	Most    *uint32 `json:"max_namespaces" optional:"true"`
	ANA     bool    `json:"ana_reporting" optional:"true"`
	LeastID *uint16 `json:"min_cntlid" optional:"true"`
	MostID  *uint16 `json:"max_cntlid" optional:"true"`
}

func (createSubsystemParams) ignores() []string {
	return []string{
		"tgt_name", "max_discard_size_kib", "max_write_zeroes_size_kib", "passthrough", "enable_nssr",
	}
}

// Longest serial and model numbers (SPDK_NVME_CTRLR_SN_LEN, _MN_LEN).
const longestSerial, longestModel = 20, 40

func createSubsystem(t *Target, r *request, p *createSubsystemParams) (any, error) {
	if t.subsystems[p.NQN] != nil || !isNQN(p.NQN) {
		return nil, refusal(codeInternalError, "Unable to create subsystem %s", p.NQN)
	}
	s := &subsystem{
		nqn: p.NQN, serial: defaultSerial, model: defaultModel, anyHost: p.AnyHost, most: defaultNamespaces,
		ana: p.ANA, leastID: leastController, mostID: mostController,
	}
	if p.Serial != nil {
		if len(*p.Serial) > longestSerial {
			return nil, refusal(codeInvalidParams, "Invalid SN %s", *p.Serial)
		}
		s.serial = *p.Serial
	}
	if p.Model != nil {
		if len(*p.Model) > longestModel {
			return nil, refusal(codeInvalidParams, "Invalid MN %s", *p.Model)
		}
		s.model = *p.Model
	}
	if p.Most != nil && *p.Most > 0 {
		s.most = *p.Most
	}
	if !s.takeIDs(p) {
		return nil, refusal(codeInvalidParams, "Invalid cntlid range [%d-%d]", s.leastID, s.mostID)
	}
	t.addSubsystem(s)
	return r.later(func() (any, error) { return true, nil })
}

// The IDs that controllers may have (NVMF_MIN_CNTLID, NVMF_MAX_CNTLID).
const leastController, mostController = 1, 0xffef

// takeIDs sets the range of the controllers' IDs.
func (s *subsystem) takeIDs(p *createSubsystemParams) (ok bool) {
	if p.LeastID != nil {
		s.leastID = int(*p.LeastID)
	}
	if p.MostID != nil {
		s.mostID = int(*p.MostID)
	}
	return s.leastID >= leastController && s.mostID <= mostController && s.leastID <= s.mostID
}

type nqnParams struct {
	NQN string `json:"nqn"`
}

func (nqnParams) ignores() []string { return []string{"tgt_name"} }

func deleteSubsystem(t *Target, r *request, p *nqnParams) (any, error) {
	s := t.subsystems[p.NQN]
	if s == nil {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	if len(s.changes) > 0 {
		t.die(errDeleted)
		return nil, errLater
	}
	return r.later(func() (any, error) {
		for _, nsid := range s.inOrderNSIDs() {
			s.removeNamespace(nsid)
		}
		t.closeListeners(s)
		s.lost()
		t.server.Disconnect(s.nqn)
		delete(t.subsystems, s.nqn)
		t.inOrder = slices.DeleteFunc(t.inOrder, func(other *subsystem) bool { return other == s })
		return true, nil
	})
}

// subsystemInfo is what nvmf_get_subsystems lists.
type subsystemInfo struct {
	NQN       string          `json:"nqn"`
	Subtype   string          `json:"subtype"`
	Listeners []trid          `json:"listen_addresses"`
	AnyHost   bool            `json:"allow_any_host"`
	Hosts     []nqnOf         `json:"hosts"`
	Serial    string          `json:"serial_number,omitempty"`
	Model     string          `json:"model_number,omitempty"`
	Most      uint32          `json:"max_namespaces,omitempty"`
	LeastID   uint32          `json:"min_cntlid,omitempty"`
	MostID    uint32          `json:"max_cntlid,omitempty"`
	Spaces    *[]namespaceOut `json:"namespaces,omitempty"`
}

type nqnOf struct {
	NQN string `json:"nqn"`
}

type namespaceOut struct {
	NSID  uint32 `json:"nsid"`
	Bdev  string `json:"bdev_name"`
	Name  string `json:"name"`
	NGUID string `json:"nguid,omitempty"`
	UUID  string `json:"uuid"`
}

type getSubsystemsParams struct {
	NQN    string `json:"nqn" optional:"true"`
	Target string `json:"tgt_name" optional:"true"`
}

func getSubsystems(t *Target, _ *request, p *getSubsystemsParams) (any, error) {
	listed := t.inOrder
	if p.NQN != "" {
		s := t.subsystems[p.NQN]
		if s == nil {
			return nil, syscall.ENODEV
		}
		listed = []*subsystem{s}
	}
	infos := []subsystemInfo{}
	for _, s := range listed {
		infos = append(infos, s.info())
	}
	return infos, nil
}

func (s *subsystem) info() subsystemInfo {
	info := subsystemInfo{NQN: s.nqn, Subtype: "NVMe", Listeners: []trid{}, AnyHost: s.anyHost, Hosts: []nqnOf{}}
	for _, l := range s.listeners {
		info.Listeners = append(info.Listeners, l.trid)
	}
	for _, host := range s.hosts {
		info.Hosts = append(info.Hosts, nqnOf{host})
	}
	if s.discovery {
		info.Subtype = "Discovery"
		return info
	}
	info.Serial, info.Model, info.Most, info.LeastID, info.MostID = s.serial, s.model, s.most, uint32(s.leastID), uint32(s.mostID)
	spaces := []namespaceOut{}
	for _, nsid := range s.inOrderNSIDs() {
		ns := s.namespaces[nsid]
		spaces = append(spaces, namespaceOut{NSID: nsid, Bdev: ns.bdev.name, Name: ns.bdev.name, NGUID: ns.nguid, UUID: ns.uuid})
	}
	info.Spaces = &spaces
	return info
}

type hostParams struct {
	NQN  string `json:"nqn"`
	Host string `json:"host"`
}

func (hostParams) ignores() []string {
	return []string{"tgt_name", "psk", "dhchap_key", "dhchap_ctrlr_key"}
}

func addHost(t *Target, r *request, p *hostParams) (any, error) {
	s := t.subsystems[p.NQN]
	switch {
	case s == nil:
		return nil, refusal(codeInvalidParams, invalidParameters)
	case !isNQN(p.Host) || slices.Contains(s.hosts, p.Host):
		return nil, refusal(codeInternalError, "Internal error")
	}
	s.hosts = append([]string{p.Host}, s.hosts...)
	return true, nil
}

// removeHost also ends what that host has connected.
func removeHost(t *Target, r *request, p *hostParams) (any, error) {
	s := t.subsystems[p.NQN]
	switch {
	case s == nil:
		return nil, refusal(codeInvalidParams, invalidParameters)
	case !slices.Contains(s.hosts, p.Host):
		return nil, refusal(codeInternalError, "Internal error")
	}
	s.hosts = slices.DeleteFunc(s.hosts, func(host string) bool { return host == p.Host })
	t.server.DisconnectHost(s.nqn, p.Host)
	return r.later(func() (any, error) { return true, nil })
}

// namespaceParam is the "namespace" of nvmf_subsystem_add_ns.
type namespaceParam struct {
	NSID  uint32    `json:"nsid" optional:"true"`
	Bdev  string    `json:"bdev_name"`
	NGUID nguid     `json:"nguid" optional:"true"`
	UUID  uuidParam `json:"uuid" optional:"true"`
}

// plainNamespace is the same without decode, which would be asked again.
type plainNamespace namespaceParam

func (plainNamespace) relaxed() {}

func (n *namespaceParam) decode(raw json.RawMessage) bool {
	return decode(raw, (*plainNamespace)(n), Fork)
}

// nguid is 32 hex digits.
type nguid string

func (n *nguid) decode(raw json.RawMessage) bool {
	var text string
	if json.Unmarshal(raw, &text) != nil || len(text) != 32 {
		return false
	}
	if _, err := hex.DecodeString(text); err != nil {
		return false
	}
	*n = nguid(strings.ToUpper(text))
	return true
}

type addNamespaceParams struct {
	NQN       string         `json:"nqn"`
	Namespace namespaceParam `json:"namespace"`
}

func (addNamespaceParams) relaxed() {}

func addNamespace(t *Target, r *request, p *addNamespaceParams) (any, error) {
	s := t.subsystems[p.NQN]
	if s == nil {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	// Opened when the subsystem has paused: what another request of this turn makes
	// is not there yet.
	b := t.find(p.Namespace.Bdev)
	return r.pause(s, p.Namespace.NSID, func() (any, error) {
		ns := s.place(p.Namespace, b)
		if ns == nil {
			return nil, refusal(codeInvalidParams, invalidParameters)
		}
		s.namespaces[ns.nsid] = ns
		if t.attachedToItself(s) {
			t.hang("a namespace was added to a subsystem that the target itself is attached to")
			return nil, errLater
		}
		s.changed()
		return ns.nsid, nil
	})
}

// place is the new namespace, or nil where there is no place for it or the bdev is
// another's.
func (s *subsystem) place(p namespaceParam, b *bdev) *namespace {
	nsid := p.NSID
	if nsid == 0 {
		for nsid = 1; nsid <= s.most && s.namespaces[nsid] != nil; nsid++ {
		}
	}
	if nsid > s.most || s.namespaces[nsid] != nil || b == nil || b.gone || b.take(exclusiveWrite) != 0 {
		return nil
	}
	ns := &namespace{nsid: nsid, bdev: b, nguid: string(p.NGUID), uuid: string(p.UUID)}
	if ns.uuid == "" {
		ns.uuid = b.uuid
	}
	if ns.nguid == "" || strings.Trim(ns.nguid, "0") == "" {
		ns.nguid = strings.ToUpper(strings.ReplaceAll(b.uuid, "-", ""))
	}
	return ns
}

type removeNamespaceParams struct {
	NQN    string `json:"nqn"`
	NSID   uint32 `json:"nsid"`
	Target string `json:"tgt_name" optional:"true"`
}

func removeNamespace(t *Target, r *request, p *removeNamespaceParams) (any, error) {
	s := t.subsystems[p.NQN]
	if s == nil {
		return nil, refusal(codeInvalidParams, invalidParameters)
	}
	return r.pause(s, p.NSID, func() (any, error) {
		if s.namespaces[p.NSID] == nil {
			return nil, refusal(codeInvalidParams, invalidParameters)
		}
		if s.isWrittenTo(p.NSID) {
			t.die(errWrittenTo)
			return nil, errLater
		}
		s.removeNamespace(p.NSID)
		r.conclude(true, nil)
		if t.attachedToItself(s) {
			t.hang(itsOwn)
		}
		return nil, errLater
	})
}

// itsOwn: the target waits for an answer of its own. One that it has attached to by
// another target's address does not.
const itsOwn = "a namespace was removed from a subsystem that the target itself is attached to"

func (s *subsystem) removeNamespace(nsid uint32) {
	if ns := s.namespaces[nsid]; ns != nil {
		delete(s.namespaces, nsid)
		ns.bdev.release()
		s.changed()
	}
}

// withdraw ends the namespaces of a bdev that goes.
func (t *Target) withdraw(b *bdev) {
	for _, s := range t.inOrder {
		for _, nsid := range s.inOrderNSIDs() {
			if s.namespaces[nsid].bdev != b {
				continue
			}
			s.removeNamespace(nsid)
			if t.attachedToItself(s) {
				t.hang(itsOwn)
			}
		}
	}
}
