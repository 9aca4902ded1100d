package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// resultsDir is where reports and the servers' logs go, from the root of the repository.
const resultsDir = "bench/results"

// report is what a run writes as JSON.
type report struct {
	Time      time.Time `json:"time"`
	Go        string    `json:"go"`
	CPUs      int       `json:"cpus"`
	Postgres  string    `json:"postgres,omitempty"`
	Rounds    int       `json:"rounds"`
	Seconds   float64   `json:"seconds_per_round"`
	Generator float64   `json:"generator_requests_per_second"` // against the floor's empty answer
	Results   []*result `json:"results"`
}

// write stores the report at path, or under a name of its own in bench/results.
func (r *report) write(path string) (string, error) {
	if path == "" {
		path = filepath.Join(resultsDir, r.Time.UTC().Format("20060102T150405Z")+".json")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, append(text, '\n'), 0o644)
}

// print shows the medians as two tables.
func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%d CPUs, %s, PostgreSQL %s; medians of %d rounds of %g s; the load generator alone reaches %.0f requests/s at 32 connections\n\n",
		r.CPUs, r.Go, r.Postgres, r.Rounds, r.Seconds, r.Generator)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "case\tconns\tAthena\tfloor\t\tratio\tgoal\t\tby CPU\tp50 ms\tfloor\tp99 ms\tfloor\t")
	for _, x := range r.Results {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%.2f\t%s\t%.2f\t%s\t%s\t%s\t%s\t\n", x.Title, x.Connections,
			number(x.Athena.throughput(x.Stream)), number(x.Floor.throughput(x.Stream)), unit(x.Stream), x.Ratio, x.mark(), x.CPURatio,
			milliseconds(x.Athena.P50), milliseconds(x.Floor.P50), milliseconds(x.Athena.P99), milliseconds(x.Floor.P99))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nCPU in us per request (of a stream in ms), most resident memory in MB")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "case\tconns\tcore\tplugin\tpostgres\tload\tfloor\tpostgres\tload\t\tMB core\tplugin\tfloor\t")
	for _, x := range r.Results {
		scale := 1.0
		if x.Stream {
			scale = 1000
		}
		cpu := func(s *side, group string) string { return cell(s.CPU, group, scale) }
		memory := func(s *side, group string) string { return cell(s.PeakMB, group, 1) }
		a, f := &x.Athena, &x.Floor
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\t%s\t%s\t%s\t\n", x.Title, x.Connections,
			cpu(a, "core"), cpu(a, "plugin"), cpu(a, "postgres"), cpu(a, "load"),
			cell(f.whole(), "floor", scale), cpu(f, "postgres"), cpu(f, "load"),
			memory(a, "core"), memory(a, "plugin"), memory(f, "floor"))
	}
	return t.Flush()
}

// whole is the CPU of a side in the place of the floor: of an Athena core and plugin together.
func (s *side) whole() map[string]float64 {
	if s.CPU["core"] == 0 {
		return s.CPU
	}
	return map[string]float64{"floor": s.CPU["core"] + s.CPU["plugin"]}
}

// missed counts the goals that were not reached.
func (r *report) missed() int {
	n := 0
	for _, x := range r.Results {
		if x.missed() {
			n++
		}
	}
	return n
}

// mark is the goal's cells: the goal, and whether it is reached.
func (r *result) mark() string {
	switch {
	case r.Goal == 0:
		return "\t"
	case r.missed():
		return fmt.Sprintf("%.2f\tMISS", r.Goal)
	default:
		return fmt.Sprintf("%.2f\tpass", r.Goal)
	}
}

func unit(stream bool) string {
	if stream {
		return "MB/s"
	}
	return "req/s"
}

// number keeps the digits that mean something.
func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func milliseconds(us float64) string { return fmt.Sprintf("%.2f", us/1000) }

// cell is one value of a group of processes, "-" when there is none.
func cell(values map[string]float64, group string, scale float64) string {
	v, ok := values[group]
	if !ok || v == 0 {
		return "-"
	}
	return number(v / scale)
}
