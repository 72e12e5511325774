package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// versionResult is what version prints as JSON; "" is unknown.
type versionResult struct {
	verdict
	Module    string `json:"module"`
	Version   string `json:"version"`   // a tag, a pseudo-version, or (devel)
	Revision  string `json:"revision"`  // of the repository it was built in
	RevisedAt string `json:"revisedAt"` // RFC 3339
	Modified  bool   `json:"modified"`  // files differed from the revision
	Go        string `json:"go"`        // that built it
	Platform  string `json:"platform"`  // GOOS/GOARCH
}

func (p cli) version() *cobra.Command {
	return reporting(&cobra.Command{
		Use:   "version",
		Short: "Print the version of the engine",
		Long: `version prints the module's version, the revision that it was built from and the Go
version, as go build records them; engine --version prints the same. A revision that
go does not record, such as that of a downloaded module, is left out.`,
		Args: exactArgs(),
	}, func(_ *cobra.Command, _ []string, output outputFlag) error {
		v := thisVersion()
		return p.conclude(output, nil, v, v.text())
	})
}

func thisVersion() versionResult {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) versionResult {
	v := versionResult{
		verdict: verdictOf(nil), Module: info.Main.Path, Version: info.Main.Version,
		Go: cmp.Or(info.GoVersion, runtime.Version()), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.RevisedAt = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v versionResult) text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "engine %s\n", cmp.Or(v.Version, "of an unknown version"))
	if v.Revision != "" {
		modified := ""
		if v.Modified {
			modified = ", modified since"
		}
		fmt.Fprintf(&text, "  revision %s of %s%s\n", v.Revision, cmp.Or(v.RevisedAt, "an unknown time"), modified)
	}
	fmt.Fprintf(&text, "  module   %s\n  built by %s for %s\n", cmp.Or(v.Module, "unknown"), v.Go, v.Platform)
	return text.String()
}
