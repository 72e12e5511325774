package ports

// Identifier is implemented by hosts that know the identity of their store without a
// call. Other hosts are listed once more before a rebuild.
type Identifier interface {
	// Identity is the UUID and the name of the store, as List reports them.
	Identity() (uuid, name string)
}
