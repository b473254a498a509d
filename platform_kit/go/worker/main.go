package worker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Main runs handler as the worker name, in the way the command line asks for, and does not return.
//
// Exit codes: 0 done or stopped as asked, 64 wrong usage, and then
//
//	serve       1 could not start or could not finish its work in time
//	subprocess  1 could not finish its work in time, 65 the input ended inside a frame
//	command     65 rejected, 69 something it needs is away, 70 failed, 75 deadline passed
func Main(name string, handler Handler, options ...Option) {
	p := newProgram(name, options)
	p.handler = handler
	p.main()
}

// MainWith is [Main] for a handler that needs the worker's connection, its name or its log.
//
// As a subprocess or a command it connects to NATS only if an address is given; Platform.NATS is nil otherwise. A
// subprocess whose setup fails answers 503 with the reason, and tries again.
func MainWith(name string, setup Setup, options ...Option) {
	p := newProgram(name, options)
	p.setup = setup
	p.main()
}

const (
	exitOK          = 0
	exitStopped     = 1 // could not start, or was stopped before everything was done
	exitUsage       = 64
	exitRejected    = 65
	exitUnavailable = 69
	exitFailed      = 70
	exitDeadline    = 75
)

func (p *program) main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := p.start(ctx, os.Args[1:], os.Getenv)
	cancel()
	os.Exit(code)
}

// start takes the process's streams, if the mode owns them, and runs.
func (p *program) start(ctx context.Context, args []string, env func(string) string) int {
	c, err := p.parse(args, env, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	std := streams{os.Stdin, os.Stdout, os.Stderr, os.Stderr}
	if c.mode == modeSubprocess || c.mode == modeCommand {
		if std, err = takeStreams(c.logFile()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", c.instance, oneLine(err.Error()))
			return exitFailed
		}
	}
	return p.run(ctx, c, std)
}

// streams are what a run reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	log      io.Writer
}

// run is a worker without a process around it.
func (p *program) run(ctx context.Context, c config, std streams) int {
	log := slog.New(slog.NewTextHandler(std.log, nil)).With("worker", c.instance)
	switch c.mode {
	case modeDescribe:
		return p.describe(c, std)
	case modeSubprocess:
		return p.subprocess(ctx, c, std, log)
	case modeCommand:
		return p.command(ctx, c, std, log)
	default:
		return p.serve(ctx, c, std, log)
	}
}

// prepare returns the handler of a mode that needs no server, and what to close in the end.
func (p *program) prepare(c config, log *slog.Logger) (handler Handler, done func(), err error) {
	platform, done := Platform{Instance: c.instance, Log: log}, func() {}
	if p.setup != nil && c.url != "" {
		nc, err := connect(c, log)
		if err != nil {
			return nil, nil, Unavailable(err)
		}
		platform.NATS, done = nc, nc.Close
	}
	if handler, err = p.build(platform); err != nil {
		done()
		return nil, nil, err
	}
	return handler, done, nil
}

// exitCode of the modes that answer a failure by their end.
func exitCode(err error) int {
	switch code, _, _ := ErrorReply(err); code {
	case CodeRejected:
		return exitRejected
	case CodeUnavailable:
		return exitUnavailable
	case CodeDeadline:
		return exitDeadline
	default:
		return exitFailed
	}
}
