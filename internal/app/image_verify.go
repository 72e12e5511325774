package app

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// ImageCheck is the result of a verification.
type ImageCheck struct {
	Image    domain.ImageOnStore
	Expected string // the SHA-512 of the caller or of the record, in hex digits
	Recorded string // the SHA-512 that the host records; "": none
	SHA512   string // of the bytes that were read; of the whole lvol if neither matches
	Bytes    uint64 // number of bytes with that SHA-512; all after them are zero
}

// VerifyImage reads an image and compares it with the SHA-512 expected, or that of the
// record. The record does not tell how long the content was before zeros filled its last
// cluster, so the checksum may be that of the lvol without some of the zeros at its end.
func (e *Engine) VerifyImage(ctx context.Context, on ports.Host, name, expected string, observer Observer) (ImageCheck, error) {
	var check ImageCheck
	host := guard.Wrap(on)
	if host == nil {
		return check, refusef("no host")
	}
	if err := domain.CheckImageName(name); err != nil {
		return check, &refusal{err}
	}
	if _, ok := ports.As[ports.Opener](host); !ok {
		return check, refusef("this host cannot open lvols, so no image can be read from it")
	}
	store, err := host.List(ctx)
	if err != nil {
		return check, fmt.Errorf("list the host: %w", err)
	}
	found := false
	for _, i := range store.Images() {
		if i.Name == name && (i.State == domain.ImageReady || i.State == domain.ImageUnready) {
			check.Image, found = i, true
		}
	}
	if !found {
		return check, fmt.Errorf("backing image %s on lvstore %s: %w", name, store.Name, ports.ErrNotFound)
	}
	check.Recorded = check.Image.Lvol.Image.Checksum
	if expected == "" {
		expected = check.Recorded
	}
	if expected == "" {
		return check, refusef("lvstore %s records no checksum of backing image %s: give the expected SHA-512", store.Name, name)
	}
	if check.Expected, err = domain.CheckSHA512(expected); err != nil {
		return check, &refusal{err}
	}
	run := ports.Run{Replica: domain.ImageRunName(name), Store: store.UUID, ID: executor.NewID()}
	free, err := e.leaseImageRun(ctx, host, newImageRun(run, name, store), "the verification")
	if err != nil {
		return check, err
	}
	defer free()
	reader := lvolReader{site{Site{}, host}, run, newProgress(observer)}
	err = reader.readImage(ctx, store.ClusterSize, &check)
	if err != nil {
		return check, fmt.Errorf("verify backing image %s: %w", name, err)
	}
	if err := check.compare(); err != nil {
		return check, fmt.Errorf("verify backing image %s: %w", name, err)
	}
	return check, nil
}

// compare explains a SHA-512 that differs. A file in another format than raw has another
// SHA-512 than its content.
func (c ImageCheck) compare() error {
	switch {
	case c.SHA512 == c.Expected:
		return nil
	case c.SHA512 == c.Recorded:
		return refusef("the image is intact: its content has the recorded SHA-512 %s; the given SHA-512 is that of a qcow2 file or of another image", c.Recorded)
	}
	hint := "the SHA-512 of a qcow2 file differs from that of its content"
	if c.Expected == c.Recorded {
		hint = "Longhorn records the SHA-512 of a qcow2 file, which differs from that of its content: if Longhorn made this image, give the SHA-512 of the content"
	}
	return fmt.Errorf("its content has the SHA-512 %s, expected %s (%s): %w", c.SHA512, c.Expected, hint, ports.ErrCorrupt)
}

func (r lvolReader) readImage(ctx context.Context, cluster uint64, check *ImageCheck) (err error) {
	l := check.Image.Lvol
	if err := r.at.Host.Release(ctx, r.run); err != nil { // a crashed run's export could not be opened
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
		defer cancel()
		err = errors.Join(err, executor.End(ctx, r.at.Host, r.run))
	}()
	r.progress.beginReading([]domain.Lvol{l})
	sum := &paddedHash{Hash: sha512.New(), before: int(l.Size - min(cluster, l.Size)), want: []string{check.Expected, check.Recorded}}
	if err := r.read(ctx, l, sum, r.progress.read); err != nil {
		return err
	}
	check.SHA512, check.Bytes = sum.result()
	return nil
}

// paddedHash hashes a view whose last cluster may be padded with zeros. If needed it tries
// every length of the content.
type paddedHash struct {
	hash.Hash

	before int // bytes before the last cluster
	want   []string
	hashed uint64
	last   []byte // the last cluster
}

// Write hashes all but the last cluster.
func (h *paddedHash) Write(p []byte) (int, error) {
	n := min(h.before, len(p))
	h.before -= n
	h.hashed += uint64(n)
	_, _ = h.Hash.Write(p[:n]) // never fails
	h.last = append(h.last, p[n:]...)
	return len(p), nil
}

// result returns the first wanted SHA-512 that matches, and its number of bytes; if none
// matches, the SHA-512 of all bytes.
func (h *paddedHash) result() (sum string, bytes uint64) {
	hashed := h.hashed
	write := func(p []byte) string {
		_, _ = h.Hash.Write(p) // never fails
		hashed += uint64(len(p))
		return hex.EncodeToString(h.Sum(nil))
	}
	data := len(h.last)
	for data > 0 && h.last[data-1] == 0 {
		data--
	}
	sum = write(h.last[:data])
	for at := data; !slices.Contains(h.want, sum) && at < len(h.last); at++ {
		sum = write(h.last[at : at+1])
	}
	return sum, hashed
}
