package main

import (
	"go/scanner"
	"go/token"
	"os"
	"testing"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

var target = sdktest.Target{Config: []byte(`{"token": "open sesame 7731"}`)}

func TestConformance(t *testing.T) {
	t.Run("in process", func(t *testing.T) { sdktest.Run(t, target.InProcess(plugin)) })
	t.Run("binary", func(t *testing.T) { sdktest.Run(t, target.Binary(sdktest.Build(t, "."))) })
}

func TestGreeting(t *testing.T) {
	remote, stop, err := sdk.InProcess(plugin)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for config, want := range map[string]string{`{}`: `[{"greeting":"hello"}]`, `{"greeting": "good day"}`: `[{"greeting":"good day"}]`} {
		if _, err := remote.OpenInstance(t.Context(), "hi", 1, []byte(config)); err != nil {
			t.Fatal(err)
		}
		for _, s := range []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: "world"}}, sdktest.SQL(sdk.IntentRead, "SELECT greeting")} {
			answer, err := remote.Execute(t.Context(), &sdk.Call{Instance: "hi", Generation: 1, Statements: []sdk.Statement{s}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := answer.Next(); err != nil || string(got) != want {
				t.Errorf("%s of %s: %s, %v; want %s", s.Verb, config, got, err, want)
			}
			answer.Close()
		}
	}
}

// TestLines: a plugin takes at most 25 lines of code.
func TestLines(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	file := files.AddFile("main.go", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0) // comments are left out
	lines := map[int]bool{}
	for position, what, literal := s.Scan(); what != token.EOF; position, what, literal = s.Scan() {
		if what != token.SEMICOLON || literal != "\n" {
			lines[files.Position(position).Line] = true
		}
	}
	if n := len(lines); n == 0 || n > 25 {
		t.Errorf("main.go has %d lines of code, want at most 25", n)
	}
}
