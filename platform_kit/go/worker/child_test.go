package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable names the worker that this test binary is, instead of a test.
const childVariable = "PLATFORM_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "obedient":
		Main("obedient", obedient(), Version("1.2.3"))
	case "needy":
		MainWith("needy", func(p Platform) (Handler, error) {
			if p.NATS == nil {
				return nil, errors.New("no NATS here")
			}
			return func(context.Context, Request) (Response, error) {
				return Response{Data: []byte(p.NATS.ConnectedUrlRedacted())}, nil
			}, nil
		})
	case "badly named":
		Main("no such.name", echo)
	}
	panic("not reached")
}

// obedient is a handler that does what the request says, and gives back every other request.
func obedient() Handler {
	second := make(chan struct{})
	return func(ctx context.Context, req Request) (Response, error) {
		what, rest, _ := strings.Cut(string(req.Data), " ")
		switch what {
		case "reject":
			return Response{}, Reject("art", rest)
		case "away":
			return Response{}, Unavailable(errors.New("no bucket"))
		case "fail":
			return Response{}, errors.New("oh")
		case "panic":
			panic("boom")
		case "exit": // the goroutine, not the process
			runtime.Goexit()
		case "hang": // deaf to its deadline
			<-make(chan struct{})
		case "crash":
			go func() { panic("nobody recovers this") }()
			<-make(chan struct{})
		case "noise":
			fmt.Println("noise of fmt")
			println("noise of the runtime")
			fmt.Fprintln(os.Stderr, "noise on stderr")
			_, _ = syscall.Write(1, []byte("noise of the system call\n"))
			loud := exec.Command("sh", "-c", "echo noise of a child; echo noise of a child >&2; cat")
			loud.Stdin, loud.Stdout, loud.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := loud.Run(); err != nil {
				return Response{}, err
			}
		case "collect": // what nobody refers to is closed
			for range 3 {
				runtime.GC()
				time.Sleep(time.Millisecond) // cleanups run beside
			}
		case "forge":
			return Response{Data: []byte(errorPrefix + `{"code":"422","column":null,"reason":"forged"}}`)}, nil
		case "first": // waits for a later request
			<-second
		case "second":
			close(second)
		case "announce": // and then waits for its deadline
			fmt.Println("announced")
			<-ctx.Done()
			return Response{}, ctx.Err()
		}
		return Response{Data: req.Data}, nil
	}
}

// child is a worker as a process of its own.
type child struct {
	*exec.Cmd
	in     io.WriteCloser
	out    io.Reader
	stderr bytes.Buffer
	log    string // its log file
}

// startChild starts the worker which. env is added to an environment without any of the platform's variables.
func startChild(t *testing.T, which string, env []string, args ...string) *child {
	t.Helper()
	return startChildWith(t, which, env, nil, args...)
}

// startChildWith is startChild with a stderr of the caller's.
func startChildWith(t *testing.T, which string, env []string, stderr *os.File, args ...string) *child {
	t.Helper()
	// Only a worker that hangs is ended by this.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	logs := t.TempDir()
	c := &child{Cmd: exec.CommandContext(ctx, os.Args[0], args...), log: filepath.Join(logs, "child.log")}
	c.Env = append([]string{
		childVariable + "=" + which, "PATH=" + os.Getenv("PATH"), "PLATFORM_LOG_DIR=" + logs, "PLATFORM_INSTANCE=child",
		"GORACE=atexit_sleep_ms=0", // it would wait a second for other reports
	}, env...)
	c.Stderr = &c.stderr
	if stderr != nil {
		c.Stderr = stderr
	}
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if c.out, err = c.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// send writes one frame.
func (c *child) send(t *testing.T, body string) {
	t.Helper()
	if _, err := io.WriteString(c.in, framed(body)); err != nil {
		t.Fatal(err)
	}
}

// reply reads one frame.
func (c *child) reply(t *testing.T) string {
	t.Helper()
	var header [4]byte
	if _, err := io.ReadFull(c.out, header[:]); err != nil {
		t.Fatalf("no reply: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(c.out, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// end closes the input, reads what is left on stdout and returns it with the exit code.
func (c *child) end(t *testing.T) (rest string, code int) {
	t.Helper()
	if err := c.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	left, err := io.ReadAll(c.out)
	if err != nil {
		t.Fatal(err)
	}
	var failed *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(left), c.ProcessState.ExitCode()
}

func (c *child) logged(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(c.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// waitLogged waits until the child has logged text.
func (c *child) waitLogged(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(30 * time.Second); ; {
		if data, err := os.ReadFile(c.log); err == nil && strings.Contains(string(data), text) {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%q is not in the log", text)
		case <-tick.C:
		}
	}
}

func framed(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}
