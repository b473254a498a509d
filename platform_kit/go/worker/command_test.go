package worker

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"platform-kit/internal/natstest"
)

func TestCommand(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		which, input string
		args         []string
		stdout       string
		code         int
		stderr       string
	}{
		"an answer":       {"obedient", "hello\n", nil, "hello\n", exitOK, ""},
		"an empty one":    {"obedient", "", nil, "", exitOK, ""},
		"a large one":     {"obedient", large, nil, large, exitOK, ""},
		"too large":       {"obedient", large + "x", nil, "", exitRejected, "the request has more than the limit of 1048576 bytes"},
		"noise":           {"obedient", "noise", nil, "noise", exitOK, ""},
		"an error's body": {"obedient", "forge", nil, errorPrefix + `{"code":"422","column":null,"reason":"forged"}}`, exitOK, ""},
		"no NATS needed":  {"obedient", "hello", []string{"--nats", "nats://127.0.0.1:1"}, "hello", exitOK, ""},
		"rejected":        {"obedient", "reject a\nb", nil, "", exitRejected, "art: a b"},
		"unavailable":     {"obedient", "away", nil, "", exitUnavailable, "no bucket"},
		"failed":          {"obedient", "fail", nil, "", exitFailed, "oh"},
		"a panic":         {"obedient", "panic", nil, "", exitFailed, "the handler panicked: boom"},
		"a hang":          {"obedient", "hang", []string{"--timeout", "50ms"}, "", exitDeadline, "not done within 50ms: context deadline exceeded"},
		"no setup":        {"needy", "", nil, "", exitFailed, "no NATS here"},
		"no server":       {"needy", "", []string{"--nats", "nats://user:secret@127.0.0.1:1"}, "", exitUnavailable, "cannot connect to nats://***@127.0.0.1:1: nats: no servers available for connection"},
	} {
		t.Run(name, func(t *testing.T) {
			child := startChild(t, c.which, nil, append([]string{"command"}, c.args...)...)
			// A process that has read enough may be gone already.
			if _, err := io.WriteString(child.in, c.input); err != nil && c.code == exitOK {
				t.Fatal(err)
			}
			out, code := child.end(t)
			if out != c.stdout || code != c.code {
				t.Errorf("exit code %d, want %d; stdout %.100q", code, c.code, out)
			}
			if got := strings.TrimSuffix(child.stderr.String(), "\n"); got != c.stderr {
				t.Errorf("stderr %q, want %q", got, c.stderr)
			}
		})
	}
}

func TestCommandsShareALogFile(t *testing.T) {
	p := newProgram("echo", nil)
	p.handler = echo
	for mode, own := range map[string]bool{"command": false, "subprocess": true} {
		c, err := p.parse([]string{mode}, func(string) string { return "" }, io.Discard)
		if err != nil || strings.HasSuffix(c.instance, "-"+strconv.Itoa(os.Getpid())) != own {
			t.Errorf("%s: %q, %v", mode, c.instance, err)
		}
	}
}

func TestCommandWaitsNoLongerThanItsDeadlineForTheMessage(t *testing.T) {
	child := startChild(t, "obedient", nil, "command", "--timeout", "50ms")
	out, err := io.ReadAll(child.out) // its input stays open
	if err != nil || len(out) > 0 {
		t.Fatalf("got %q, %v", out, err)
	}
	if _, code := child.end(t); code != exitDeadline {
		t.Errorf("exit code %d: %s", code, &child.stderr)
	}
}

func TestCommandIsStopped(t *testing.T) {
	child := startChild(t, "obedient", nil, "command", "--timeout", "1h", "--drain", "50ms")
	if _, err := io.WriteString(child.in, "announce"); err != nil {
		t.Fatal(err)
	}
	if err := child.in.Close(); err != nil {
		t.Fatal(err)
	}
	child.waitLogged(t, "announced")
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, code := child.end(t); out != "" || code != exitUnavailable {
		t.Errorf("stdout %q, exit code %d: %s", out, code, &child.stderr)
	}
}

func TestSetupIsGivenAConnectionWhereThereIsAnAddress(t *testing.T) {
	s := natstest.Start(t, nil)
	for _, mode := range []string{"command", "subprocess"} {
		child := startChild(t, "needy", []string{"PLATFORM_NATS_URL=" + s.ClientURL()}, mode)
		var want string
		if mode == "subprocess" {
			child.send(t, "")
			want = framed(s.ClientURL())
		} else {
			want = s.ClientURL()
		}
		if out, code := child.end(t); out != want || code != exitOK {
			t.Errorf("%s: exit code %d, %q: %s", mode, code, out, &child.stderr)
		}
	}
}

func TestDescribe(t *testing.T) {
	child := startChild(t, "obedient", nil, "describe", "--max-request", "500")
	out, code := child.end(t)
	if code != exitOK || strings.Count(out, "\n") != 1 {
		t.Fatalf("exit code %d: %q", code, out)
	}
	want := `{"name":"obedient","version":"1.2.3","build":"","protocol":1,"transports":["serve","subprocess","command"],"max_request_bytes":500}`
	if strings.TrimSpace(out) != want || !json.Valid([]byte(out)) {
		t.Errorf("got %s", out)
	}
}

func TestWrongUsage(t *testing.T) {
	for name, c := range map[string]struct {
		which, says string
		args        []string
	}{
		"an unknown word":    {"obedient", `unexpected argument "sing"`, []string{"sing"}},
		"a word too many":    {"obedient", `unexpected argument "more"`, []string{"command", "more"}},
		"an unknown flag":    {"obedient", "-rate", []string{"subprocess", "--rate", "3"}},
		"no time":            {"obedient", "--timeout", []string{"command", "--timeout", "0s"}},
		"a folder as a name": {"obedient", `"../x"`, []string{"subprocess", "--instance", "../x"}},
		"no address":         {"obedient", "PLATFORM_NATS_URL", []string{"serve"}},
		"a bad name":         {"badly named", `"no such.name"`, []string{"describe"}},
	} {
		t.Run(name, func(t *testing.T) {
			child := startChild(t, c.which, nil, c.args...)
			out, code := child.end(t)
			if out != "" || code != exitUsage || !strings.Contains(child.stderr.String(), c.says) {
				t.Errorf("exit code %d, stdout %q, stderr %s", code, out, &child.stderr)
			}
		})
	}
}
