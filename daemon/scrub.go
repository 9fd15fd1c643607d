package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"k3fs/chunkstore"
	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// scrubProblems bounds the problems that a scrub tells.
const scrubProblems = 100

// scrubState is the scrub that runs, or the last one of this run of the daemon.
type scrubState struct {
	mu     sync.Mutex
	job    *job // guarded by mu; nil: there was none
	data   bool
	report Report
	more   int
}

// StartScrub implements adminapi.Maintainer: what fsck checks, while the store is in use.
func (o operated) StartScrub(ctx context.Context, who tenancy.Principal, r *adminv1.StartScrubRequest) error {
	d := o.d
	if err := d.ns.As(who).NoteMaintenance(ctx, "node.scrub", "a scrub was asked for"); err != nil {
		return err
	}
	s := &d.scrub
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := d.jobs.start("scrub", func(ctx context.Context, j *job) error {
		err := d.runScrub(ctx, j, r)
		d.scrubbed(j, err)
		return err
	})
	if err == nil {
		s.job, s.data, s.report, s.more = j, r.GetData(), Report{}, 0
	}
	return err
}

// runScrub checks Badger's tables, every record, and then the namespace with its data.
func (d *Daemon) runScrub(ctx context.Context, j *job, r *adminv1.StartScrubRequest) error {
	j.at("tables of the metadata", 0, 0)
	if err := d.stores.kv.Scrub(); err != nil {
		return err
	}
	j.at("records of the metadata", 0, 0)
	counted := Report{}
	if err := counted.countRecords(ctx, d.stores.kv); err != nil {
		return err
	}
	j.at("names, versions and contents", 0, 0)
	report, err := d.ns.Check(ctx, namespace.CheckOptions{Deep: r.GetData(), Limit: scrubProblems, Pace: paceOf(r.GetBytesPerSecond()),
		Progress: func(c namespace.CheckReport) {
			if c.OfBytes > 0 {
				j.at("data", c.Bytes, c.OfBytes)
			}
			d.scrub.set(&counted, c)
		}})
	d.scrub.set(&counted, report)
	return err
}

// paceOf lets so many bytes pass each second; nil for 0.
func paceOf(bytesPerSecond int64) func(context.Context, int64) error {
	if bytesPerSecond == 0 {
		return nil
	}
	const most = chunkstore.MaxExtent * 2 // of one extent on the disk
	limit := rate.NewLimiter(rate.Limit(bytesPerSecond), most)
	limit.AllowN(time.Now(), most) // no burst at the beginning
	return func(ctx context.Context, n int64) error { return limit.WaitN(ctx, int(min(n, most))) }
}

// set notes what the scrub has found.
func (s *scrubState) set(counted *Report, c namespace.CheckReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = Report{Records: counted.Records, Inodes: c.Inodes, Extents: c.Extents, Problems: slices.Clone(counted.Problems)}
	for _, p := range c.Problems {
		s.report.Problems = append(s.report.Problems, p.String())
	}
	s.more = c.More
}

// scrubbed tells the log how a scrub ended.
func (d *Daemon) scrubbed(j *job, err error) {
	s := d.scrub.shown()
	problems := len(s.Problems) + int(s.MoreProblems)
	args := []any{"records", s.Records, "inodes", s.Inodes, "extents", s.Extents, "problems", problems, "took", j.took()}
	switch {
	case err != nil:
		d.log.Warn("scrub ended before it was done", append(args, "err", err)...)
	case problems > 0:
		d.log.Error("scrub found problems: see 'k3fs maintenance scrub status', and run k3fs fsck", append(args, "first", s.Problems[0])...)
	default:
		d.log.Info("scrub found no problem", args...)
	}
}

// Scrub implements adminapi.Maintainer.
func (o operated) Scrub() *adminv1.Scrub { return o.d.scrub.shown() }

func (s *scrubState) shown() *adminv1.Scrub {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job == nil {
		return &adminv1.Scrub{Job: &adminv1.Job{}}
	}
	return &adminv1.Scrub{Job: s.job.shown(), Data: s.data, Records: s.report.Records, Inodes: s.report.Inodes, Extents: s.report.Extents,
		Problems: s.report.Problems, MoreProblems: int64(s.more)}
}

// StopScrub implements adminapi.Maintainer.
func (o operated) StopScrub(ctx context.Context, who tenancy.Principal) error {
	if err := o.d.ns.As(who).NoteMaintenance(ctx, "node.scrub.stop", "the end of a scrub was asked for"); err != nil {
		return err
	}
	return o.d.jobs.stop(ctx, "scrub")
}
