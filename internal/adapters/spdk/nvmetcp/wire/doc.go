// Package wire has the PDUs, commands and statuses of NVMe/TCP, for hosts and for the
// server of simulated targets.
//
// No length, offset or identifier that comes over the wire is believed: what does not
// fit is a ProtocolError, which ends the connection.
package wire
