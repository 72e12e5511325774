// Package nvmeserver serves namespaces over NVMe/TCP: hosts reach simulated targets by
// it, and are tested with it, without hardware.
package nvmeserver
