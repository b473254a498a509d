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
	"runtime"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// Main runs handler as worker name until SIGTERM or SIGINT, and does not return. version is semantic: "1.2.3".
//
// Exit codes: 0 stopped as asked, 1 could not start or could not finish its work in time, 2 wrong usage.
func Main(name, version string, handler Handler) {
	MainWith(name, version, func(Platform) (Handler, error) { return handler, nil })
}

// MainWith is [Main] for a handler that needs the worker's connection.
func MainWith(name, version string, setup Setup) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, name, version, setup, os.Args[1:], os.Getenv, os.Stderr)
	cancel()
	os.Exit(code)
}

const (
	exitOK = iota
	exitFailed
	exitUsage
)

// run is MainWith without a process around it.
func run(ctx context.Context, name, version string, setup Setup, args []string, env func(string) string, stderr io.Writer) int {
	c, err := parse(name, version, args, env, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("worker", c.instance)
	fail := func(err error) int {
		fmt.Fprintf(stderr, "%s: %s\n", c.instance, oneLine(err.Error()))
		return exitFailed
	}

	nc, err := connect(c, log)
	if err != nil {
		return fail(err)
	}
	defer nc.Close()
	handler, err := setup(Platform{NATS: nc, Instance: c.instance, Log: log})
	if err != nil {
		return fail(err)
	}
	p := newPool(handler, c.limits)
	svc, err := serve(nc, c, p, log)
	if err != nil {
		p.stop(0)
		return fail(err)
	}
	log.Info("ready", "subject", "workers."+c.name, "concurrency", c.limits.Concurrency, "pid", os.Getpid())

	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	select {
	case <-ctx.Done():
	case <-closed:
		p.stop(0)
		return fail(fmt.Errorf("the connection is closed for good: %w", nc.LastError()))
	}

	// The subscription goes first, so that the queue group's other workers get what comes now.
	deadline := time.Now().Add(c.limits.Drain)
	if err := svc.Stop(); err != nil {
		log.Warn("stopping the service", "error", err)
	}
	_ = nc.FlushTimeout(time.Until(deadline)) // what the server sent before it knew is here now
	clean := p.stop(time.Until(deadline))
	_ = nc.FlushTimeout(time.Second)
	log.Info("stopped", "requests", p.requests.Load(), "failed", p.failed.Load(), "rejected", p.rejected.Load())
	if !clean {
		return fail(fmt.Errorf("a request was still running %v after the signal", c.limits.Drain))
	}
	return exitOK
}

// parse reads flags over environment over defaults.
func parse(name, version string, args []string, env func(string) string, stderr io.Writer) (config, error) {
	c := config{name: name, version: version}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.url, "nats", env("PLATFORM_NATS_URL"), "NATS server `URL` (PLATFORM_NATS_URL)")
	fs.StringVar(&c.nkeyFile, "nkey", env("PLATFORM_NKEY_FILE"), "`file` with an nkey seed (PLATFORM_NKEY_FILE)")
	fs.StringVar(&c.credsFile, "creds", env("PLATFORM_CREDS_FILE"), "`file` with user credentials (PLATFORM_CREDS_FILE)")
	fs.StringVar(&c.instance, "instance", env("PLATFORM_INSTANCE"), "this worker's `name` (PLATFORM_INSTANCE; default name-host-pid)")
	fs.IntVar(&c.limits.Concurrency, "concurrency", runtime.GOMAXPROCS(0), "requests worked on at once")
	fs.IntVar(&c.limits.Queue, "queue", 256, "requests waiting at most; more are answered 503")
	fs.IntVar(&c.limits.MaxRequestBytes, "max-request", 1<<20, "largest request in `bytes`")
	fs.DurationVar(&c.limits.Timeout, "timeout", 30*time.Second, "deadline of one request")
	fs.DurationVar(&c.limits.Drain, "drain", 5*time.Second, "time to finish accepted requests when stopped")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	usage := func(format string, a ...any) (config, error) {
		err := fmt.Errorf(format, a...)
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return c, err
	}
	if fs.NArg() > 0 {
		return usage("unexpected argument %q", fs.Arg(0))
	}
	if c.url == "" {
		return usage("no server: give --nats URL or set PLATFORM_NATS_URL")
	}
	if l := c.limits; l.Concurrency < 1 || l.Queue < 1 || l.MaxRequestBytes < 1 || l.Timeout <= 0 || l.Drain <= 0 {
		return usage("--concurrency, --queue, --max-request, --timeout and --drain must be positive")
	}
	// A flag given by hand outranks the other kind of credentials in the environment.
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "creds":
			c.nkeyFile = ""
		}
	})
	if c.instance == "" {
		c.instance = fmt.Sprintf("%s-%s-%d", name, host, os.Getpid())
	}
	return c, nil
}
