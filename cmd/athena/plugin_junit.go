package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/athena-gateway/athena/sdk/sdktest"
)

// The elements of a JUnit report, as far as CI systems read them.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"` // seconds
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report of results: a class per group of checks.
func writeJUnit(path, binary string, results []sdktest.Result) error {
	suite := junitSuite{Name: "athena plugin verify " + binary, Tests: len(results)}
	var total time.Duration
	for _, r := range results {
		group, _, _ := strings.Cut(r.Check, "/")
		c := junitCase{Class: group, Name: r.Check, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		switch {
		case r.Err != nil:
			suite.Failures++
			c.Failure = &junitMessage{Message: r.Doc, Text: r.Err.Error()}
		case r.Missing != "":
			suite.Skipped++
			c.Skipped = &junitMessage{Message: "not declared: " + r.Missing}
		}
		total += r.Took
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.3f", total.Seconds())
	text, err := xml.MarshalIndent(struct {
		XMLName xml.Name `xml:"testsuites"`
		Suite   junitSuite
	}{Suite: suite}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append([]byte(xml.Header), append(text, '\n')...), 0o644); err != nil {
		return fmt.Errorf("the JUnit report: %w", err)
	}
	return nil
}
