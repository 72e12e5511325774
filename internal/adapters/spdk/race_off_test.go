//go:build !race

package spdk_test

const raceDetector = false
