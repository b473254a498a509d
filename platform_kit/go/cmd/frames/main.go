// Command frames moves messages between JetStream and a data frame, a million at a time.
//
//	frames read      one JSON line on stdin says what to read; an Arrow IPC stream of messages comes out on stdout
//	frames publish   one JSON line on stdin, then an Arrow IPC stream of messages; for every record batch one of
//	                 results comes out on stdout: sequence, code, reason
//
// Where and as whom to connect stands in PLATFORM_NATS_URL, PLATFORM_NKEY_FILE or PLATFORM_CREDS_FILE, and
// PLATFORM_INBOX. What happens on the way is told on stderr, one JSON object a line; the last one before an exit code
// other than 0 has the reason. The process ends when either of its pipes is closed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	// Nearly all that is allocated dies at once: collect it rarely, but well before memory counts.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(512 << 20)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	say := &events{out: json.NewEncoder(stderr)}
	if len(args) != 1 || args[0] != "read" && args[0] != "publish" {
		fmt.Fprintln(stderr, "usage: frames read | publish")
		return exitUsage
	}
	in := bufio.NewReaderSize(stdin, 1<<20)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return say.failed(failure{"usage", "stdin ended before the request"})
	}
	where := server{env("PLATFORM_NATS_URL"), env("PLATFORM_NKEY_FILE"), env("PLATFORM_CREDS_FILE"), env("PLATFORM_INBOX")}
	if args[0] == "read" {
		err = read(where, line, in, stdout, say)
	} else {
		err = publish(where, line, in, stdout, say)
	}
	if err != nil {
		return say.failed(err)
	}
	return exitOK
}

// failure is an error whose kind the caller acts upon.
type failure struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
}

func (f failure) Error() string { return f.Reason }

// events tells the process that started this one what happens.
type events struct{ out *json.Encoder }

func (e *events) failed(err error) int {
	f := failure{"failed", err.Error()}
	errors.As(err, &f)
	e.out.Encode(map[string]failure{"error": f})
	return exitFailed
}

func (e *events) count(name string, n int64) { e.out.Encode(map[string]int64{name: n}) }
