// Command bench measures Athena beside the floor: a minimal server that answers the same
// requests with the same bodies from the same PostgreSQL. README.md tells how to read
// what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	cases, connections string
	rounds             int
	duration           time.Duration
	quick              bool
	output, profile    string
	athena, floor      string
	keep               bool
	assert, micro      bool
}

func main() {
	var o options
	flag.StringVar(&o.cases, "case", "", "only these cases, e.g. row,insert; none for -micro alone")
	flag.StringVar(&o.connections, "connections", "", "only these numbers of connections, e.g. 32")
	flag.IntVar(&o.rounds, "rounds", 9, "rounds per case; each drives Athena, then the floor")
	flag.DurationVar(&o.duration, "duration", 1500*time.Millisecond, "length of a round on one server")
	flag.BoolVar(&o.quick, "quick", false, "2 rounds of 1 s: for a first look")
	flag.StringVar(&o.output, "out", "", "path of the JSON report (default bench/results/TIME.json)")
	flag.StringVar(&o.profile, "profile", "", "folder for a perf profile of each case (needs perf)")
	flag.StringVar(&o.athena, "athena-url", "", "host:port of an Athena that runs already, with -floor-url")
	flag.StringVar(&o.floor, "floor-url", "", "host:port of a floor that runs already, with -athena-url")
	flag.BoolVar(&o.keep, "keep", false, "leave the database behind, e.g. for servers started by hand")
	flag.BoolVar(&o.assert, "assert", false, "fail when a goal is missed")
	flag.BoolVar(&o.micro, "micro", false, "run the packages' benchmarks too")
	flag.Parse()
	if o.quick {
		o.rounds, o.duration = 2, time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := execute(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func execute(ctx context.Context, o *options) error {
	chosen, err := chooseCases(o.cases, o.connections)
	if err != nil {
		return err
	}
	var missed int
	if len(chosen) > 0 {
		if missed, err = compareServers(ctx, o, chosen); err != nil {
			return err
		}
	}
	if o.micro {
		if err := micro(ctx); err != nil {
			return err
		}
	}
	if o.assert && missed > 0 {
		return fmt.Errorf("%d goals missed", missed)
	}
	return nil
}

// chooseCases narrows the cases and their connections to the lists given.
func chooseCases(names, connections string) ([]*benchCase, error) {
	var chosen []*benchCase
	var known []string
	wanted := strings.FieldsFunc(names, func(r rune) bool { return r == ',' })
	for _, c := range cases {
		known = append(known, c.Name)
		if len(wanted) == 0 || slices.Contains(wanted, c.Name) {
			narrowed := *c
			chosen = append(chosen, &narrowed)
		}
	}
	for _, name := range wanted {
		if name != "none" && !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no case %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	if connections == "" {
		return chosen, nil
	}
	var only []int
	for text := range strings.SplitSeq(connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-connections %q is no list of positive numbers", connections)
		}
		only = append(only, n)
	}
	for _, c := range chosen {
		if c.Stream { // 256 of them would take minutes
			c.Connections = slices.DeleteFunc(slices.Clone(only), func(n int) bool { return !slices.Contains(c.Connections, n) })
		} else {
			c.Connections = only
		}
	}
	return chosen, nil
}

// compareServers starts both sides, measures the chosen cases and reports. It returns how many
// goals were missed.
func compareServers(ctx context.Context, o *options, chosen []*benchCase) (missed int, err error) {
	b := &bench{rounds: o.rounds, duration: o.duration}
	stop, err := b.start(ctx, o, slices.ContainsFunc(chosen, func(c *benchCase) bool { return c.Logged }))
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 0, err
	}
	// One processor is enough to load the servers, and idle ones looking for work would
	// take time from them.
	runtime.GOMAXPROCS(1)
	r := &report{Time: time.Now(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Rounds: o.rounds, Seconds: o.duration.Seconds()}
	r.Postgres = b.db.version
	if r.Generator, err = b.generator(); err != nil {
		return 0, err
	}
	for _, use := range chosen {
		sizes, err := compare(ctx, use, b.servers(use), b.db.emptyInserted)
		if err != nil {
			return 0, err
		}
		for _, n := range use.Connections {
			x, err := b.measure(ctx, use, sizes, n)
			if err != nil {
				return 0, err
			}
			fmt.Printf("%s, %d connections: %.2f\n", use.Title, n, x.Ratio)
			r.Results = append(r.Results, x)
			if o.profile != "" {
				if err := b.profile(ctx, o.profile, use, sizes, n); err != nil {
					return 0, err
				}
			}
		}
	}
	if err := r.print(os.Stdout); err != nil {
		return 0, err
	}
	path, err := r.write(o.output)
	fmt.Println("\nwritten to", path)
	return r.missed(), err
}

// generator measures how many requests the load generator can send when the answer costs
// nothing.
func (b *bench) generator() (float64, error) {
	workers, err := connect(hello, b.floor, int64(len(helloBody)), 32)
	if err != nil {
		return 0, err
	}
	l, err := drive(workers, time.Second)
	if err = errors.Join(err, disconnect(workers)); err != nil {
		return 0, err
	}
	return l.PerSecond, nil
}

// start creates the database and starts the servers, unless they were given; the Athena that
// records only if it is asked for. The stop it returns is never nil.
func (b *bench) start(ctx context.Context, o *options, logged bool) (stop func() error, err error) {
	var undo []func() error
	stop = func() error {
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if o.athena != "" || o.floor != "" {
		if o.athena == "" || o.floor == "" {
			return stop, errors.New("-athena-url and -floor-url go together")
		}
		b.athena, b.floor = &server{name: "athena", address: o.athena}, &server{name: "floor", address: o.floor}
		b.given = true
		b.db, err = openDatabase(ctx)
		return stop, err
	}
	dir, err := os.MkdirTemp("", "athena-bench-")
	if err != nil {
		return stop, err
	}
	undo = append(undo, func() error { return os.RemoveAll(dir) })
	fmt.Println("filling the database with 1,000,000 rows")
	if b.db, err = createDatabase(ctx); err != nil {
		return stop, err
	}
	if !o.keep {
		undo = append(undo, b.db.drop)
	}
	fmt.Println("building and starting the floor and Athena")
	if b.floor, err = startFloor(ctx, dir, b.db.uri); err != nil {
		return stop, err
	}
	undo = append(undo, b.floor.stop)
	started := []*server{b.floor}
	if b.athena, err = startAthena(ctx, dir, "athena", b.db.uri, ledger{uri: "sqlite://" + filepath.Join(dir, "ledger.db")}); err != nil {
		return stop, err
	}
	undo = append(undo, b.athena.stop)
	started = append(started, b.athena)
	if logged {
		if b.logged, err = startAthena(ctx, dir, "logged", b.db.uri, ledger{uri: b.db.ledgerURI, control: true}); err != nil {
			return stop, err
		}
		undo = append(undo, b.logged.stop)
		if err := b.logged.createKey(ctx); err != nil {
			return stop, err
		}
		started = append(started, b.logged)
	}
	for _, s := range started {
		if err := s.ready(ctx, rowByKey); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// micro runs the packages' own benchmarks and prints their lines.
func micro(ctx context.Context) error {
	fmt.Println("\nmicro-benchmarks")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "./sdk/...", "./core/...", "./plugins/...")
	text, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Benchmark") || strings.HasPrefix(line, "pkg:") {
			fmt.Print(line)
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}
