package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/im-transfer/im/deploy/local"
)

// write prints the figures as Markdown.
func write(out io.Writer, c *local.Cluster, alone []engine, r *result) {
	store := "MongoDB"
	if c.Mongo.StandIn() {
		store = "mongo-java-server in place of MongoDB"
	}
	fmt.Fprintf(out, "%s/%s, %d CPUs, %s, everything on one machine; %s.\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), store)
	fmt.Fprint(out, "| alone | per second | of them for a message | messages/s |\n|---|---|---|---|\n")
	for _, e := range alone {
		fmt.Fprintf(out, "| %s: %s | %.0f | %.0f | %.0f |\n", e.name, e.what, e.rate, e.each, e.rate/e.each)
	}
	slowest := slowestOf(alone)
	fmt.Fprintf(out, "\n| the cluster | |\n|---|---|\n| acknowledged messages/s | %.0f |\n", r.acknowledged)
	fmt.Fprintf(out, "| of the slowest engine alone (%s, %.0f messages/s) | %.2f |\n", slowest.name, slowest.rate/slowest.each, r.acknowledged*slowest.each/slowest.rate)
	fmt.Fprintf(out, "| delivery p50, p99 | %.1f ms, %.1f ms |\n| violations | %d |\n", r.deliveredP50, r.deliveredP99, r.violations)
	fmt.Fprint(out, "\n| process | cores |\n|---|---|\n")
	total := 0.0
	for _, u := range r.cpu {
		fmt.Fprintf(out, "| %s | %.2f |\n", u.name, u.cores)
		total += u.cores
	}
	fmt.Fprintf(out, "| together | %.2f of %d |\n\nProfiles, for go tool pprof -top:", total, runtime.NumCPU())
	for _, file := range r.profiles {
		fmt.Fprintf(out, " %s", file)
	}
	fmt.Fprintln(out)
}

// slowestOf returns what bounds the messages per second.
func slowestOf(alone []engine) engine {
	slowest := alone[0]
	for _, e := range alone[1:] {
		if e.rate/e.each < slowest.rate/slowest.each {
			slowest = e
		}
	}
	return slowest
}
