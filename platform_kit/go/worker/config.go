package worker

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The ways a worker runs; the first word of the command line.
const (
	modeServe      = "serve"
	modeSubprocess = "subprocess"
	modeCommand    = "command"
	modeDescribe   = "describe"
)

var transports = []string{modeServe, modeSubprocess, modeCommand}

// The limits of a worker that is told none; see [Limits] for the others.
const (
	DefaultMaxRequestBytes = 1 << 20
	DefaultTimeout         = 30 * time.Second
)

// config is everything the command line and the environment say.
type config struct {
	mode      string
	url       string
	nkeyFile  string
	credsFile string
	instance  string
	logDir    string
	limits    Limits
}

// parse reads flags over environment over defaults. What is wrong is said on stderr.
func (p *program) parse(args []string, env func(string) string, stderr io.Writer) (config, error) {
	c := config{mode: modeServe, logDir: env("PLATFORM_LOG_DIR")}
	usage := func(format string, a ...any) (config, error) {
		err := fmt.Errorf(format, a...)
		fmt.Fprintf(stderr, "%s: %v\n", p.name, err)
		return c, err
	}
	if err := p.valid(); err != nil {
		return usage("%w", err)
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if !slices.Contains(append(transports, modeDescribe), args[0]) {
			return usage("unexpected argument %q: it is serve, subprocess, command or describe", args[0])
		}
		c.mode, args = args[0], args[1:]
	}

	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s [serve | subprocess | command | describe] [flags]\n", p.name)
		fs.PrintDefaults()
	}
	fs.StringVar(&c.url, "nats", env("PLATFORM_NATS_URL"), "NATS server `URL` (PLATFORM_NATS_URL)")
	fs.StringVar(&c.nkeyFile, "nkey", env("PLATFORM_NKEY_FILE"), "`file` with an nkey seed (PLATFORM_NKEY_FILE)")
	fs.StringVar(&c.credsFile, "creds", env("PLATFORM_CREDS_FILE"), "`file` with user credentials (PLATFORM_CREDS_FILE)")
	fs.StringVar(&c.instance, "instance", env("PLATFORM_INSTANCE"), "this worker's `name` (PLATFORM_INSTANCE; default name-host-pid)")
	fs.IntVar(&c.limits.Concurrency, "concurrency", runtime.GOMAXPROCS(0), "requests worked on at once")
	fs.IntVar(&c.limits.Queue, "queue", 256, "requests waiting at most; more are answered 503")
	fs.IntVar(&c.limits.MaxRequestBytes, "max-request", DefaultMaxRequestBytes, "largest request in `bytes`")
	fs.DurationVar(&c.limits.Timeout, "timeout", DefaultTimeout, "deadline of one request")
	fs.DurationVar(&c.limits.Drain, "drain", 5*time.Second, "time to finish accepted requests when stopped")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return usage("unexpected argument %q", fs.Arg(0))
	}
	if c.url == "" && c.mode == modeServe {
		return usage("no server: give --nats URL or set PLATFORM_NATS_URL")
	}
	if l := c.limits; l.Concurrency < 1 || l.Queue < 1 || l.MaxRequestBytes < 1 || l.Timeout <= 0 || l.Drain <= 0 {
		return usage("--concurrency, --queue, --max-request, --timeout and --drain must be positive")
	}
	// A flag given by hand outranks the other kind of credentials in the environment.
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "creds" {
			c.nkeyFile = ""
		}
	})
	if c.instance == "" {
		c.instance = defaultInstance(p.name, c.mode)
	}
	// It names the log file.
	if c.instance != filepath.Base(c.instance) || !filepath.IsLocal(c.instance) {
		return usage("--instance %q must be a plain name, without a folder", c.instance)
	}
	return c, nil
}

func defaultInstance(name, mode string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if mode == modeCommand {
		return name + "-" + host // a process for each message: no log file for each
	}
	return fmt.Sprintf("%s-%s-%d", name, host, os.Getpid())
}

// logFile is where the modes that own stdout and stderr log to; "" means nowhere.
func (c config) logFile() string {
	if c.logDir == "" {
		return ""
	}
	return filepath.Join(c.logDir, c.instance+".log")
}
