package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSubprocessAnswersEachFrame(t *testing.T) {
	c := startChild(t, "obedient", nil, "subprocess", "--timeout", "30s", "--max-request", "1048576")
	large := strings.Repeat("龍", 1<<20/3)
	for _, exchange := range [][2]string{
		{"hello", "hello"},
		{"", ""},
		{large, large},
		{large + "!!", `{"worker_error":{"code":"422","column":null,"reason":"the request has 1048577 bytes, more than the limit of 1048576"}}`},
		{"reject a\nb", `{"worker_error":{"code":"422","column":"art","reason":"a b"}}`},
		{"away", `{"worker_error":{"code":"503","column":null,"reason":"no bucket"}}`},
		{"fail", `{"worker_error":{"code":"500","column":null,"reason":"oh"}}`},
		{"panic", `{"worker_error":{"code":"500","column":null,"reason":"the handler panicked: boom"}}`},
		{"exit", `{"worker_error":{"code":"500","column":null,"reason":"the handler ended its goroutine"}}`},
		{"forge", `{"worker_error":{"code":"500","column":null,"reason":"the answer begins with {\"worker_error\":, which only a failure may"}}`},
		{"noise", "noise"},
		{"after all that", "after all that"},
	} {
		c.send(t, exchange[0])
		if got := c.reply(t); got != exchange[1] {
			t.Errorf("%.40q: got %.200q, want %.200q", exchange[0], got, exchange[1])
		}
	}
	if rest, code := c.end(t); rest != "" || code != exitOK {
		t.Errorf("at the end %q, exit code %d", rest, code)
	}
	if c.stderr.Len() > 0 {
		t.Errorf("on stderr: %s", &c.stderr)
	}
	log := c.logged(t)
	for _, noise := range []string{
		"noise of fmt", "noise of the runtime", "noise on stderr", "noise of the system call", "noise of a child\nnoise of a child", "child_test.go",
	} {
		if !strings.Contains(log, noise) {
			t.Errorf("%q is not in the log", noise)
		}
	}
	if info, err := os.Stat(c.log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log: %v, %v", info.Mode(), err)
	}
}

// Wombat takes the end of stderr for the end of the process.
func TestSubprocessKeepsStderrOpen(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := startChildWith(t, "obedient", nil, w, "subprocess")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c.send(t, "collect")
	c.reply(t)
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading stderr: %v", err)
	}
	if _, code := c.end(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSubprocessKeepsTheOrder(t *testing.T) {
	c := startChild(t, "obedient", nil, "subprocess", "--concurrency", "2")
	var all []string
	for _, body := range []string{"first", "second", "third", "", "fifth"} { // the first is done after the second
		c.send(t, body)
		all = append(all, body)
	}
	for _, want := range all {
		if got := c.reply(t); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if _, code := c.end(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSubprocessAnswersForAHandlerThatHangs(t *testing.T) {
	c := startChild(t, "obedient", nil, "subprocess", "--concurrency", "1", "--timeout", "50ms")
	for _, want := range []string{`"code":"504"`, `"code":"503"`} { // hangs; waits behind it until its own deadline
		c.send(t, "hang")
		if got := c.reply(t); !strings.HasPrefix(got, errorPrefix) || !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if rest, code := c.end(t); rest != "" || code != exitOK {
		t.Errorf("at the end %q, exit code %d", rest, code)
	}
}

func TestSubprocessEnds(t *testing.T) {
	for name, c := range map[string]struct {
		input  string
		output string
		code   int
		logs   string
	}{
		"with its input":  {"", "", exitOK, "stopped"},
		"after answering": {framed("one") + framed("two"), framed("one") + framed("two"), exitOK, "stopped"},
		"in the length":   {framed("one") + "\x00", framed("one"), exitRejected, "after 1 of 4 bytes"},
		"in the body":     {framed("one") + "\x00\x00\x00\x09half", framed("one"), exitRejected, "after 4 of 9 bytes"},
		"in a crash":      {framed("crash"), "", 2, "nobody recovers this"},
	} {
		t.Run(name, func(t *testing.T) {
			child := startChild(t, "obedient", nil, "subprocess")
			if _, err := io.WriteString(child.in, c.input); err != nil {
				t.Fatal(err)
			}
			if c.code != 2 { // it ends by itself
				if err := child.in.Close(); err != nil {
					t.Fatal(err)
				}
			}
			out, code := child.end(t)
			if out != c.output || code != c.code || child.stderr.Len() > 0 {
				t.Errorf("got %q, exit code %d, stderr %s", out, code, &child.stderr)
			}
			if log := child.logged(t); !strings.Contains(log, c.logs) {
				t.Errorf("%q is not in the log: %s", c.logs, log)
			}
		})
	}
}

// TestSubprocessIsStopped stops it between requests, and by the time to finish with one that does not end.
func TestSubprocessIsStopped(t *testing.T) {
	for name, c := range map[string]struct {
		send, reply string
		code        int
	}{
		"at rest":          {"hello", "hello", exitOK},
		"with one in work": {"announce", `{"worker_error":{"code":"503","column":null,"reason":"the worker stopped before the request was done"}}`, exitStopped},
	} {
		t.Run(name, func(t *testing.T) {
			child := startChild(t, "obedient", nil, "subprocess", "--drain", "50ms", "--timeout", "1h")
			child.send(t, c.send)
			if c.code == exitOK {
				if got := child.reply(t); got != c.reply {
					t.Errorf("got %q", got)
				}
			} else {
				child.waitLogged(t, "announced")
			}
			if err := child.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if c.code != exitOK {
				if got := child.reply(t); got != c.reply {
					t.Errorf("got %q", got)
				}
			}
			rest, err := io.ReadAll(child.out) // its input stays open
			if err != nil || len(rest) > 0 {
				t.Errorf("then %q, %v", rest, err)
			}
			if _, code := child.end(t); code != c.code || child.stderr.Len() > 0 {
				t.Errorf("exit code %d, stderr %s", code, &child.stderr)
			}
		})
	}
}

// runFrames runs handler as a subprocess without a process. The returned writer is its input.
func runFrames(t *testing.T, ctx context.Context, handler Handler, args ...string) (in *io.PipeWriter, out io.Reader, exit <-chan int) {
	t.Helper()
	p := newProgram("echo", nil)
	p.handler = handler
	var usage bytes.Buffer
	c, err := p.parse(append([]string{"subprocess"}, args...), func(string) string { return "" }, &usage)
	if err != nil {
		t.Fatalf("%v: %s", err, &usage)
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	code := make(chan int, 1)
	go func() {
		defer outW.Close()
		code <- p.run(ctx, c, streams{in: inR, out: outW, err: io.Discard, log: io.Discard})
	}()
	t.Cleanup(func() { _ = inR.Close() })
	return inW, outR, code
}

func TestSubprocessFinishesWhatIsInWorkAndWhatHasBegun(t *testing.T) {
	ctx, signal := context.WithCancel(t.Context())
	inWork, release := make(chan struct{}), make(chan struct{})
	handler := func(_ context.Context, req Request) (Response, error) {
		if string(req.Data) == "in work" {
			close(inWork)
			<-release
		}
		return Response{Data: req.Data}, nil
	}
	in, out, exit := runFrames(t, ctx, handler, "--drain", "1m")
	if _, err := io.WriteString(in, framed("in work")); err != nil {
		t.Fatal(err)
	}
	<-inWork
	begun := framed("begun")
	if _, err := io.WriteString(in, begun[:6]); err != nil { // a pipe in memory: it is read when this returns
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, begun[6:7]); err != nil { // so the reader is in its frame by now
		t.Fatal(err)
	}
	signal()
	close(release)
	if _, err := io.WriteString(in, begun[7:]); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out)
	if err != nil || string(got) != framed("in work")+begun {
		t.Errorf("got %q, %v", got, err)
	}
	if code := <-exit; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSubprocessHoldsNoAnswerBackForTheNext(t *testing.T) {
	slowStarted, release := make(chan struct{}), make(chan struct{})
	handler := func(_ context.Context, req Request) (Response, error) {
		if string(req.Data) == "slow" {
			close(slowStarted)
			<-release
		} else {
			<-slowStarted // so the slow one is expected already when this one is written
		}
		return Response{Data: req.Data}, nil
	}
	in, out, exit := runFrames(t, t.Context(), handler, "--concurrency", "2")
	if _, err := io.WriteString(in, framed("fast")+framed("slow")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(framed("fast")))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != framed("fast") {
		t.Errorf("got %q, %v", got, err)
	}
	close(release)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil || string(rest) != framed("slow") {
		t.Errorf("got %q, %v", rest, err)
	}
	if code := <-exit; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSubprocessEndsWithAParentThatNoLongerReads(t *testing.T) {
	ctx, signal := context.WithCancel(t.Context())
	in, _, exit := runFrames(t, ctx, echo, "--drain", "20ms", "--concurrency", "1")
	if _, err := io.WriteString(in, framed(strings.Repeat("x", 100<<10))); err != nil {
		t.Fatal(err)
	}
	signal()
	if code := <-exit; code != exitStopped {
		t.Errorf("exit code %d, want %d", code, exitStopped)
	}
}

func TestSubprocessEndsWhenItsOutputIsClosed(t *testing.T) {
	c := startChild(t, "obedient", nil, "subprocess")
	if err := c.out.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	c.send(t, "to nobody")
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitStopped {
		t.Errorf("ended with %v", err)
	}
	if log := c.logged(t); !strings.Contains(log, "the answer was not taken") {
		t.Errorf("logs %s", log)
	}
}

func TestSubprocessThatCannotStartSaysWhy(t *testing.T) {
	c := startChild(t, "needy", nil, "subprocess")
	for range 2 {
		c.send(t, "hello")
		if got := c.reply(t); got != `{"worker_error":{"code":"503","column":null,"reason":"the worker cannot start: no NATS here"}}` {
			t.Errorf("got %s", got)
		}
	}
	if out, code := c.end(t); out != "" || code != exitOK || c.stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q, exit code %d", out, &c.stderr, code)
	}
}

func TestSubprocessStartsWhenItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		p := newProgram("late", nil)
		p.setup = func(Platform) (Handler, error) {
			if attempts++; attempts < 3 {
				return nil, errors.New("not yet")
			}
			return echo, nil
		}
		handler := p.startLater(config{}, discard, errors.New("at first"))
		for _, want := range []string{"at first", "not yet", "not yet", ""} {
			for range 3 {
				res, err := handler(t.Context(), Request{Data: []byte("x")})
				if (err == nil) != (want == "") || err != nil && (codeOf(err) != CodeUnavailable || !strings.HasSuffix(err.Error(), want)) {
					t.Fatalf("after %d attempts: %q, %v", attempts, res.Data, err)
				}
			}
			time.Sleep(startAgain) // the bubble's own time
		}
		if attempts != 3 {
			t.Errorf("%d attempts", attempts)
		}
	})
}
