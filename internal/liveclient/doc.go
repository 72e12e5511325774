// Package liveclient reads and writes a volume without a pause, from several clients at
// once, and checks every byte that it reads: a read must return what the last acknowledged
// write wrote, or one that took place at the same time. Tests and simulations run it on a
// volume whose replicas are rebuilt meanwhile.
package liveclient
