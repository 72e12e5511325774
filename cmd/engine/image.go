package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rootgraft/rebuild"
	"github.com/rootgraft/rebuild/imagefile"
)

// importResult is what image import prints as JSON.
type importResult struct {
	verdict
	Name         string `json:"name"`
	Format       string `json:"format"` // raw or qcow2
	UUID         string `json:"uuid"`
	SHA512       string `json:"sha512"`       // of the content; "": not computed
	Bytes        uint64 `json:"bytes"`        // of the content
	Size         uint64 `json:"size"`         // of the lvol
	WrittenBytes uint64 `json:"writtenBytes"` // whole clusters that are not all zero
	Lvol         string `json:"lvol"`         // its name; "": there is no lvol
	Recorded     bool   `json:"recorded"`     // UUID and SHA-512 are recorded on the host
	DurationMS   int64  `json:"durationMs"`

	Warnings []string `json:"warnings"`
}

// imagesResult is what image list prints as JSON.
type imagesResult struct {
	verdict
	Store  string      `json:"store"`
	Images []imageLine `json:"images"`
}

type imageLine struct {
	Name              string             `json:"name"` // "" if it is in flight: its lvol's name does not tell
	Lvol              string             `json:"lvol"`
	State             rebuild.ImageState `json:"state"`
	UUID              string             `json:"uuid"`
	SHA512            string             `json:"sha512"`
	Size              uint64             `json:"size"`
	AllocatedClusters uint64             `json:"allocatedClusters"`
	Clones            int                `json:"clones"`
}

// checkResult is what image verify prints as JSON.
type checkResult struct {
	verdict
	Name     string `json:"name"`
	UUID     string `json:"uuid"`
	Expected string `json:"expected"` // the SHA-512 that was compared with
	Recorded string `json:"recorded"` // the one that the host records
	SHA512   string `json:"sha512"`   // of what was read
	Bytes    uint64 `json:"bytes"`    // number of bytes with that SHA-512; all after them are zero
	Size     uint64 `json:"size"`     // of the lvol
}

func (p cli) image() *cobra.Command {
	return group("image", "Import, list, verify and delete backing images",
		p.imageImport(), p.imageList(), p.imageVerify(), p.imageDelete())
}

const hostAddressHelp = `
An ADDRESS is a host's: ` + hostAddressForm + `[&listen=ADDR:PORT-PORT].
listen is where the target lets this process read and write; default
127.0.0.1:20001-20400.`

func imageName(c *cobra.Command, name string) error {
	if !c.Flags().Changed("name") {
		return badUsage("--name NAME is required: the name of the image")
	}
	if err := rebuild.CheckImageName(name); err != nil {
		return badUsage("--name: %v", err)
	}
	return nil
}

func checksum(c *cobra.Command, text *string) (err error) {
	if c.Flags().Changed("sha512") {
		if *text, err = rebuild.CheckSHA512(*text); err != nil {
			return badUsage("--sha512: %v", err)
		}
	}
	return nil
}

const importHelp = `import makes a backing image from a disk image file, raw or qcow2. Clusters that are
all zero take no space, and holes of the file are not read. An import that fails or
is interrupted leaves nothing behind.

A file of another format or a truncated one is refused; a file that does not
look like a disk is imported with a warning. --format raw takes any file as it is.

--sha512 is the checksum of the file, as sha512sum prints it. The host records the
SHA-512 of the content, which for a raw image is the same. Computing it takes time
for zeros, too: with --checksum none nothing is recorded, and a large sparse image
is imported in seconds. An image must have the same UUID on every host: give --uuid
the one that the first import printed. docs/images.md describes all this.
` + hostAddressHelp

func (p cli) imageImport() *cobra.Command {
	var name, uuid, sum string
	sums, format := checksumContent, formatAuto
	c := reporting(&cobra.Command{
		Use:     "import FILE ADDRESS",
		Short:   "Import a disk image file as a backing image",
		Long:    importHelp,
		Example: "  engine image import debian.qcow2 'unix:///var/tmp/spdk.sock?lvs=disk-1' --name debian",
		Args:    exactArgs("FILE", "ADDRESS"),
	}, func(c *cobra.Command, args []string, output outputFlag) error {
		at, err := readAddress("ADDRESS", args[1], namesNoReplica)
		if err != nil {
			return err
		}
		if err := imageName(c, name); err != nil {
			return err
		}
		if err := checksum(c, &sum); err != nil {
			return err
		}
		if c.Flags().Changed("uuid") && !rebuild.IsImageUUID(uuid) {
			return badUsage("--uuid %q: expected 32 hex digits as 8-4-4-4-12, in lower case", uuid)
		}
		file, err := openImage(c.Context(), args[0], format)
		if err != nil {
			return p.conclude(output, err, importResult{verdict: verdictOf(err), Name: name, Warnings: []string{}}, "")
		}
		defer func() { _ = file.Close() }() // it was only read
		var report rebuild.ImageReport
		show := newProgressLine(p.out)
		err = p.open.with(c.Context(), at, func(host openedHost) (err error) {
			request := rebuild.ImageRequest{
				Host: host, Name: name, UUID: uuid, Content: file, Size: file.Size, ReservePercent: reservePercent,
				NoChecksum: sums == checksumNone,
			}
			if request.SHA512, err = contentSum(c.Context(), file, sum, sums); err != nil {
				return err
			}
			if output == outputText {
				request.Observer = show
			}
			report, err = p.engine.ImportImage(c.Context(), request)
			return err
		})
		show.clear()
		return p.conclude(output, err, newImportResult(report, file, name, err), importText(report, file))
	})
	c.Flags().StringVar(&name, "name", "", "`NAME` of the image")
	c.Flags().StringVar(&uuid, "uuid", "", "`UUID` of the image, the same on every host (default: a new one)")
	c.Flags().StringVar(&sum, "sha512", "", "expected SHA-512 of the file, in `HEX` digits")
	c.Flags().Var(newOneOf(&sums, checksumContent, checksumNone), "checksum", "record the SHA-512 of the content; none saves the time to compute it")
	c.Flags().Var(newOneOf(&format, formatAuto, formatRaw, formatQcow2), "format", "format of the file; raw takes any file as it is")
	return c
}

// checksumFlag is --checksum.
type checksumFlag string

const (
	checksumContent checksumFlag = "content"
	checksumNone    checksumFlag = "none"
)

// formatFlag is the format of an image file.
type formatFlag imagefile.Format

const (
	formatAuto  formatFlag = "auto"
	formatRaw              = formatFlag(imagefile.Raw)
	formatQcow2            = formatFlag(imagefile.Qcow2)
)

// openImage opens an image file. Its errors are refusals: no host was changed.
func openImage(ctx context.Context, path string, format formatFlag) (*imagefile.File, error) {
	if format == formatAuto {
		format = ""
	}
	file, err := imagefile.Open(ctx, path, imagefile.Format(format))
	if doubt := (*imagefile.DoubtError)(nil); errors.As(err, &doubt) {
		err = fmt.Errorf("%w; --format raw takes the file as it is", err)
	}
	if err != nil {
		return nil, &refusedFile{err}
	}
	return file, nil
}

// refusedFile is a rebuild.ErrRefused that the command itself returns.
type refusedFile struct{ error }

func (r *refusedFile) Unwrap() error        { return r.error }
func (r *refusedFile) Is(target error) bool { return target == rebuild.ErrRefused }

// contentSum returns the SHA-512 that the import has to check, for a file with that
// SHA-512. It checks the file itself and returns "" where the content has another
// checksum (qcow2), or where none is computed.
func contentSum(ctx context.Context, file *imagefile.File, sum string, sums checksumFlag) (string, error) {
	if sum == "" || file.Format == imagefile.Raw && sums == checksumContent {
		return sum, nil
	}
	is, err := file.SHA512(ctx)
	if err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	if is != sum {
		return "", &refusedFile{fmt.Errorf("the SHA-512 of the file is %s, expected %s", is, sum)}
	}
	return "", nil
}

func newImportResult(report rebuild.ImageReport, file *imagefile.File, name string, failure error) importResult {
	return importResult{
		verdict: verdictOf(failure), Name: name, Format: string(file.Format), UUID: report.UUID, SHA512: report.SHA512,
		Bytes: file.Size, Size: report.Size, WrittenBytes: report.WrittenBytes, Lvol: report.Lvol.Name,
		Recorded: report.Recorded && report.Lvol.Name != "", DurationMS: report.Duration.Milliseconds(),
		Warnings: append([]string{}, file.Warnings...),
	}
}

func importText(report rebuild.ImageReport, file *imagefile.File) string {
	text := fmt.Sprintf("imported backing image %s (%s, %s) as %s\n  uuid    %s\n  sha512  %s\n  size    %s, %s of it written (the rest is zero)\n",
		report.Name, file.Format, bytesText(report.Bytes), report.Lvol.Name, report.UUID, cmp.Or(report.SHA512, "none"), bytesText(report.Size), bytesText(report.WrittenBytes))
	if !report.Recorded {
		text += "  the target records neither UUID nor SHA-512: keep them to verify the image and to import it elsewhere\n"
	}
	for _, warning := range file.Warnings {
		text += "  warning: " + warning + "\n"
	}
	return text
}

func (p cli) imageList() *cobra.Command {
	return reportingOn(namesNoReplica, &cobra.Command{
		Use:   "list ADDRESS",
		Short: "List the backing images on a host",
		Long: `list shows the backing images on a host, what the host records of them, and the
number of their clones. An image in flight is being filled, or a crash left it.
` + hostAddressHelp,
	}, func(c *cobra.Command, at address, output outputFlag) error {
		var store rebuild.Listing
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			store, err = host.List(c.Context())
			return err
		})
		r := imagesResult{verdictOf(err), store.Name, each(store.Images(), func(i rebuild.ImageOnStore) imageLine {
			return imageLine{i.Name, i.Lvol.Name, i.State, i.Lvol.Image.UUID, i.Lvol.Image.Checksum, i.Lvol.Size, i.Lvol.Own.Count, i.Clones}
		})}
		return p.conclude(output, err, r, r.text())
	})
}

func (r imagesResult) text() string {
	if len(r.Images) == 0 {
		return "no backing images on lvstore " + r.Store + "\n"
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "IMAGE\tSTATE\tSIZE\tCLONES\tUUID\tSHA-512\n")
	for _, i := range r.Images {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", cmp.Or(i.Name, i.Lvol), i.State, bytesText(i.Size), i.Clones, cmp.Or(i.UUID, "-"), cmp.Or(shortSum(i.SHA512), "-"))
	}
	_ = table.Flush() // to a buffer
	return text.String()
}

// shortSum is the beginning of a checksum, enough for people to compare.
func shortSum(sum string) string {
	if len(sum) > 16 {
		return sum[:16] + "…"
	}
	return sum
}

func (p cli) imageVerify() *cobra.Command {
	var name, sum string
	c := reportingOn(namesNoReplica, &cobra.Command{
		Use:   "verify ADDRESS",
		Short: "Read a backing image and compare it with its checksum",
		Long: `verify reads every byte of a backing image and compares the SHA-512 with the one that
the host records, or with --sha512: that of the content, as image import prints it.
The zeros after the image's end, which fill its last cluster, do not count. The
SHA-512 of a qcow2 file is not that of its content; if the record shows that it was
given by mistake, verify says so.
` + hostAddressHelp,
	}, func(c *cobra.Command, at address, output outputFlag) error {
		if err := imageName(c, name); err != nil {
			return err
		}
		if err := checksum(c, &sum); err != nil {
			return err
		}
		var check rebuild.ImageCheck
		show := newProgressLine(p.out)
		err := p.open.with(c.Context(), at, func(host openedHost) (err error) {
			var observer rebuild.Observer
			if output == outputText {
				observer = show
			}
			check, err = p.engine.VerifyImage(c.Context(), host, name, sum, observer)
			return err
		})
		show.clear()
		text := fmt.Sprintf("backing image %s is intact: %d bytes with SHA-512 %s\n", name, check.Bytes, check.SHA512)
		if check.Recorded != "" && check.Recorded != check.SHA512 {
			text += fmt.Sprintf("  the host records SHA-512 %s: Longhorn records that of a qcow2 file, not of its content\n", shortSum(check.Recorded))
		}
		l := check.Image.Lvol
		return p.conclude(output, err, checkResult{verdictOf(err), name, l.Image.UUID, check.Expected, check.Recorded, check.SHA512, check.Bytes, l.Size}, text)
	})
	c.Flags().StringVar(&name, "name", "", "`NAME` of the image")
	c.Flags().StringVar(&sum, "sha512", "", "SHA-512 to compare with, in `HEX` digits, if the host records none")
	return c
}
