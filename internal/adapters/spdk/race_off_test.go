//go:build !race

package spdk

const RaceDetector = false
