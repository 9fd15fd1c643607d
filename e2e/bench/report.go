package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// sample is one measurement of one target in one repetition.
type sample struct {
	row    string // "a"
	what   string // "write 2 GiB, buffered, fsync"
	unit   string // "MiB/s"
	target string
	value  float64
}

// report collects samples and prints medians with ratios.
type report struct {
	reps    int
	samples []sample
}

func newReport(reps int) *report { return &report{reps: reps} }

// lessIsBetter are the units of which a smaller value is the better one.
var lessIsBetter = []string{"s", "ms", "s/GiB", "KiB", "us"}

func (r *report) add(row, what, unit, target string, value float64) {
	r.samples = append(r.samples, sample{row, what, unit, target, value})
	fmt.Fprintf(os.Stderr, "  %s  %-44s %-12s %10.2f %s\n", row, what, target, value, unit)
}

func (r *report) median(row, what, unit, target string) (float64, bool) {
	var values []float64
	for _, s := range r.samples {
		if s.row == row && s.what == what && s.unit == unit && s.target == target {
			values = append(values, s.value)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2, true
}

// print writes the medians of a row, one line a measurement, one column a target, and behind them by
// what factor the column base is better (above 1) or worse than each other one.
func (r *report) print(row, base string) {
	var targets []string
	type line struct{ what, unit string }
	var lines []line
	for _, s := range r.samples {
		if s.row != row {
			continue
		}
		if !slices.Contains(targets, s.target) {
			targets = append(targets, s.target)
		}
		if l := (line{s.what, s.unit}); !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	fmt.Printf("\n(%s) medians of %d\n", row, r.reps)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "\t" + strings.Join(targets, "\t") + "\tunit\t"
	for _, t := range targets {
		if t != base {
			head += base + "/" + t + "\t"
		}
	}
	fmt.Fprintln(w, head)
	for _, l := range lines {
		fmt.Fprint(w, l.what, "\t")
		for _, t := range targets {
			fmt.Fprint(w, number(r.median(row, l.what, l.unit, t)), "\t")
		}
		fmt.Fprint(w, l.unit, "\t")
		ours, ok := r.median(row, l.what, l.unit, base)
		for _, t := range targets {
			if t == base {
				continue
			}
			theirs, both := r.median(row, l.what, l.unit, t)
			ratio := ours / theirs
			if slices.Contains(lessIsBetter, l.unit) {
				ratio = theirs / ours
			}
			fmt.Fprint(w, number(ratio, ok && both && ours > 0 && theirs > 0), "\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// finish writes the samples for benchstat, and passes err on.
func (r *report) finish(err error, path string) error {
	if path == "" {
		return err
	}
	var b strings.Builder
	for _, s := range r.samples {
		name := strings.NewReplacer(" ", "_", ",", "", "/", "-").Replace(s.row + "_" + s.what)
		fmt.Fprintf(&b, "Benchmark%s/target=%s 1 %g %s\n", name, s.target, s.value, s.unit)
	}
	return errors.Join(err, os.WriteFile(path, []byte(b.String()), 0o644))
}
