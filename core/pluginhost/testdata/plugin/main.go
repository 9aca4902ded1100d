// The plugin of pluginhost's tests. It takes its name from its file; some names make it
// misbehave before it serves. An SQL text tells it what to do in a call.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
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
	URI     string `json:"uri"`
	Token   string `json:"token" athena:"secret"`
	Path    string `json:"path" athena:"path,default=some/where"`
	Retries int    `json:"retries"`
}

type instance struct{ config config }

func open(ctx context.Context, c config) (*instance, error) {
	hclog.Default().Info("opening", "token", c.Token)
	if _, err := os.Stat(c.Flag); err == nil {
		os.Exit(4)
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
		return nil, sdk.E(sdk.Unavailable, "unreachable", "no database at "+c.URI)
	}
	return &instance{config: c}, nil
}

func (i *instance) Close() error               { return nil }
func (i *instance) Ping(context.Context) error { return nil }

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
