package ports

// Identifier is implemented by hosts that know which store they are without
// asking. Where a host is none, it is listed once more before a rebuild.
type Identifier interface {
	// Identity is the UUID and the name of the store, as List tells them.
	Identity() (uuid, name string)
}
