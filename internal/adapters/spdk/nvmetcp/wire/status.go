package wire

import "fmt"

// Status is what a controller answers a command with: the status code type in
// the bits from 8 on, the status code below. 0 is success.
type Status uint16

// Statuses that hosts and servers give or look at.
const (
	StatusInvalidOpcode    Status = 0x001
	StatusInvalidField     Status = 0x002
	StatusInternalError    Status = 0x006
	StatusInvalidNamespace Status = 0x00b
	StatusSequenceError    Status = 0x00c
	StatusInvalidSGL       Status = 0x00d
	StatusReadOnly         Status = 0x020 // the namespace is write protected
	StatusOutOfRange       Status = 0x080 // beyond the namespace's end
	StatusCapacityExceeded Status = 0x081
	StatusReadOnlyRange    Status = 0x182 // what SPDK answers to a write into a read-only bdev
	StatusConnectInvalid   Status = 0x182 // of a Connect: a parameter, such as an NQN that is not there
	StatusHostNotAllowed   Status = 0x184 // of a Connect
	StatusWriteFault       Status = 0x280
	StatusReadError        Status = 0x281
	StatusInaccessible     Status = 0x302 // by this listener, by its ANA state
)

var statusWords = map[Status]string{
	StatusInvalidOpcode:    "invalid command opcode",
	StatusInvalidField:     "invalid field in command",
	0x004:                  "data transfer error",
	0x005:                  "aborted, power loss",
	StatusInternalError:    "internal error",
	0x007:                  "aborted",
	0x008:                  "aborted, queue deleted",
	StatusInvalidNamespace: "no such namespace, or it has no such format",
	StatusSequenceError:    "command sequence error",
	StatusInvalidSGL:       "invalid SGL segment descriptor",
	0x00f:                  "data length invalid for the SGL",
	StatusReadOnly:         "namespace is write protected",
	StatusOutOfRange:       "beyond the end of the namespace",
	StatusCapacityExceeded: "capacity exceeded",
	0x082:                  "namespace not ready",
	0x083:                  "reservation conflict",
	0x101:                  "invalid queue identifier",
	0x102:                  "invalid queue size",
	0x180:                  "incompatible format of the connect",
	0x181:                  "controller busy",
	StatusConnectInvalid:   "invalid parameter, or read-only range",
	0x183:                  "restart discovery",
	StatusHostNotAllowed:   "this host is not allowed",
	0x191:                  "authentication required",
	StatusWriteFault:       "write fault",
	StatusReadError:        "unrecovered read error",
	0x286:                  "access denied",
	0x287:                  "deallocated or unwritten block",
	StatusInaccessible:     "asymmetric access inaccessible",
	0x371:                  "command aborted by the host",
}

// connectWords are those that mean something else to a Connect.
var connectWords = map[Status]string{
	StatusConnectInvalid: "invalid parameter: no such subsystem, or no such controller",
}

// String is the status in words, and its number.
func (s Status) String() string {
	words, known := statusWords[s]
	if !known {
		words = "unknown status"
	}
	return fmt.Sprintf("%s (status %#x)", words, uint16(s))
}

// StatusError is a command that the controller has refused or failed.
type StatusError struct {
	Command string // "read", "write", "connect" and so on
	Status  Status
}

// Error is the command and the status in words.
func (e *StatusError) Error() string {
	if words, special := connectWords[e.Status]; special && e.Command == "connect" {
		return fmt.Sprintf("%s: %s (status %#x)", e.Command, words, uint16(e.Status))
	}
	return e.Command + ": " + e.Status.String()
}

// StatusOf takes the status from the last field of a completion: the lowest bit
// is the phase, and the four highest say whether and when to try again.
func StatusOf(field uint16) Status { return Status(field >> 1 & 0x7ff) }
