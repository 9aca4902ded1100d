// The plugin of pluginhost's tests. It takes its name from its file; some names make it
// misbehave before it serves. An SQL text tells it what to do in a call.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

type config struct {
	Open    string `json:"open" athena:"enum=|crash|hang|fail,doc=how to misbehave in open"`
	Flag    string `json:"flag" athena:"path,doc=open crashes while this file exists"`
	Fail    string `json:"fail" athena:"path,doc=open fails while this file exists"`
	URI     string `json:"uri"`
	Token   string `json:"token" athena:"secret"`
	Path    string `json:"path" athena:"path,default=some/where"`
	Retries int    `json:"retries"`
}

type instance struct{ config config }

// forms are the secrets as they are and as programs write them.
func (c config) forms() string {
	var all []string
	for _, text := range []string{c.URI, c.Token} {
		var plain strings.Builder
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(text)
		safe, _ := json.Marshal(text)
		all = append(all, text, url.QueryEscape(text), url.PathEscape(text), upperEscape.ReplaceAllStringFunc(url.QueryEscape(text), strings.ToLower), plain.String(), string(safe), strconv.Quote(text))
		for n := range 3 { // where it begins in a group of three bytes
			all = append(all, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", n)+text)), base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("u", n)+text+":user")))
		}
	}
	return strings.Join(all, " ")
}

var upperEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// tell puts the secrets into all of an error.
func (c config) tell(e *sdk.Error) *sdk.Error {
	e.Detail, e.Hint, e.Log = c.forms(), "not "+c.URI, "tried "+c.forms()
	e.Details, _ = json.Marshal(map[string]string{"tried": c.forms(), "at": c.URI})
	return e
}

// Metrics tells the secrets as a label.
func (i *instance) Metrics() []sdk.Metric {
	return []sdk.Metric{{Name: "opened", Help: "Whether it is open.", Value: 1, Labels: []sdk.Pair{{Name: "at", Value: i.config.URI}}}}
}

func open(ctx context.Context, c config) (*instance, error) {
	hclog.Default().Info("opening", "token", c.Token)
	if _, err := os.Stat(c.Flag); err == nil {
		os.Exit(4)
	}
	if _, err := os.Stat(c.Fail); err == nil {
		return nil, sdk.E(sdk.Unavailable, "unreachable", "there is "+c.Fail)
	}
	switch c.Open {
	case "crash":
		log.Println("about to crash with", c.Token, "and", c.URI)
		os.Exit(5)
	case "hang":
		log.Println("hanging")
		<-ctx.Done()
		return nil, ctx.Err()
	case "fail":
		fmt.Fprintln(os.Stderr, "could not open with", c.forms())
		return nil, c.tell(sdk.E(sdk.Unavailable, "unreachable", "no database at "+c.URI))
	}
	return &instance{config: c}, nil
}

func (i *instance) Close() error               { return nil }
func (i *instance) Ping(context.Context) error { return nil }

// Introspect tells the process as the schema's version.
func (i *instance) Introspect(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	if len(q.Schemas) > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &sdk.Schema{Version: strconv.Itoa(os.Getpid())}, nil
}

var kilobyte = []byte(`{"text":"` + strings.Repeat("x", 1010) + `"}`)

func (i *instance) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	command, argument, _ := strings.Cut(call.Statements[0].SQL.Text, " ")
	number, _ := strconv.Atoi(argument)
	switch command {
	case "kilobyte":
		return rows.Raw(kilobyte)
	case "pid":
		rows.Columns("pid")
		return rows.Row(os.Getpid())
	case "path":
		rows.Columns("path")
		return rows.Row(i.config.Path)
	case "env":
		rows.Columns("env")
		for _, e := range os.Environ() {
			if err := rows.Row(e); err != nil {
				return err
			}
		}
	case "exit":
		os.Exit(number)
	case "panic":
		go func() { panic("the end of " + i.config.Token) }()
		<-ctx.Done()
		return ctx.Err()
	case "tell": // its secrets, by the way of the argument
		switch argument {
		case "log":
			hclog.Default().Info("it is "+i.config.forms(), "uri", i.config.URI, "forms", strings.Fields(i.config.forms()))
		case "stderr":
			fmt.Fprintln(os.Stderr, i.config.forms())
		case "stdout":
			fmt.Println(i.config.forms())
		case "error":
			return i.config.tell(sdk.E(sdk.Invalid, "told", "refused for "+i.config.URI))
		case "late error":
			for range 4000 { // more than is looked at before the answer begins
				if err := rows.Raw(kilobyte); err != nil {
					return err
				}
			}
			return i.config.tell(sdk.E(sdk.Invalid, "told", "refused for "+i.config.URI))
		case "panic":
			panic(i.config.forms())
		case "crash":
			go func() { panic(i.config.forms()) }()
			<-ctx.Done()
			return ctx.Err()
		}
	case "pour", "gush": // for three seconds, number MB a second, if somebody reads so fast
		to := os.NewFile(2, "stderr") // to the gateway's pipe
		if command == "gush" {
			to = os.Stdout // which is go-plugin's
		}
		line := []byte(strings.Repeat("p", 99) + "\n")
		chunk := bytes.Repeat(line, number*100) // of a hundredth of a second
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		poured := 0
		for began := time.Now(); time.Since(began) < 3*time.Second; <-ticker.C {
			n, err := to.Write(chunk)
			if err != nil {
				return err
			}
			poured += n
		}
		rows.Columns("poured")
		return rows.Row(poured)
	case "runaway": // a child that leaves our group and holds our output open
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.NewFile(2, "stderr")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		rows.Columns("pid")
		return rows.Row(cmd.Process.Pid)
	case "stuck": // deaf to the end of its call
		select {}
	case "stop":
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			return err
		}
		<-ctx.Done() // the other threads run on for a moment
		return ctx.Err()
	case "child": // holds our output open
		cmd := exec.Command("sleep", "1000")
		cmd.Stderr = os.NewFile(2, "stderr")
		if err := cmd.Start(); err != nil {
			return err
		}
		rows.Columns("pid")
		return rows.Row(cmd.Process.Pid)
	case "print":
		line := strings.Repeat("p", 99)
		for range number {
			fmt.Println(line)
		}
	case "flood":
		started := time.Now()
		logger, line := hclog.Default(), strings.Repeat("f", 200)
		for n := range number {
			logger.Info(line, "n", n)
		}
		rows.Columns("ms")
		return rows.Row(time.Since(started).Milliseconds())
	case "log":
		hclog.Default().Info(argument)
	case "leak": // for ever, number MiB at a time
		var held [][]byte
		for ctx.Err() == nil {
			piece := make([]byte, number<<20)
			for i := 0; i < len(piece); i += 4096 {
				piece[i] = 1
			}
			held = append(held, piece)
			time.Sleep(10 * time.Millisecond * time.Duration(number))
		}
		return fmt.Errorf("%d pieces", len(held))
	case "limits":
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			return err
		}
		rows.Columns("files", "memory")
		return rows.Row(files.Max, os.Getenv("GOMEMLIMIT"))
	case "debug":
		hclog.Default().Debug(argument)
	case "wait":
		hclog.Default().Info("waiting")
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "crashing":
		fmt.Fprintln(os.Stderr, "cannot find libexample.so")
		os.Exit(3)
	case "chatty":
		fmt.Println("Hello, I am a plugin!")
	case "hanging":
		time.Sleep(time.Hour)
	case "misnamed":
		name = "other"
	}
	sdk.Serve(sdk.Plugin{Name: name, Version: "1.2.3",
		Backend: sdk.NewBackend(open, sdk.Capabilities{Verbs: []sdk.Verb{sdk.SQL}})})
}
