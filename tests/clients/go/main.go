// The conformance program of franz-go: `clients-go BOOTSTRAP [NAME...]`, and a member of a group, see member,
// and a copier of topics, see transform.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

type scenario struct {
	name string
	run  func()
}

// failed is what a check panics with; anything else is a fault of the program and is reported the same way.
type failed struct{ why, line string }

func main() {
	if os.Args[1] == "member" {
		member(os.Args[2], os.Args[3], os.Args[4])
		return
	}
	if os.Args[1] == "transform" {
		transform(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
		return
	}
	cluster := connect(os.Args[1])
	only := os.Args[2:]
	failures := 0
	for _, s := range slices.Concat(topicScenarios(cluster), recordScenarios(cluster), errorScenarios(cluster), groupScenarios(cluster)) {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if why := outcome(s.run); why != "" {
			failures++
			fmt.Printf("FAILED %s: %s\n", s.name, strings.ReplaceAll(why, "\n", " "))
		} else {
			fmt.Printf("ok %s\n", s.name)
		}
	}
	if failures > 0 {
		os.Exit(1)
	}
}

// outcome runs a scenario and says why it failed, or nothing.
func outcome(run func()) (why string) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case failed:
			why = cause.why + " (" + cause.line + ")"
		default:
			why = fmt.Sprint(cause)
		}
	}()
	run()
	return ""
}

func fail(format string, args ...any) {
	line := "?"
	for depth := 1; depth < 10; depth++ {
		_, file, number, known := runtime.Caller(depth)
		if known && filepath.Base(file) != "main.go" {
			line = fmt.Sprintf("%s:%d", filepath.Base(file), number)
			break
		}
	}
	panic(failed{fmt.Sprintf(format, args...), line})
}

func check(holds bool, format string, args ...any) {
	if !holds {
		fail(format, args...)
	}
}

func same[T comparable](expected, found T, what string) {
	check(expected == found, "%s: expected %v, found %v", what, expected, found)
}

func sameList[T comparable](expected, found []T, what string) {
	check(slices.Equal(expected, found), "%s: expected %v, found %v", what, expected, found)
}

// must gives the value of a call that may not fail.
func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}
