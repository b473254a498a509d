package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"platform-kit/internal/natstest"
)

// newUser returns a user's public key and a file with its seed.
func newUser(t *testing.T) (public, seedFile string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seedFile = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, seedFile
}

// roles are an asker who may do everything and a worker with the least permissions.
type roles struct{ askerKey, askerSeed, workerKey, workerSeed string }

func newRoles(t *testing.T) roles {
	var r roles
	r.askerKey, r.askerSeed = newUser(t)
	r.workerKey, r.workerSeed = newUser(t)
	return r
}

// startServer runs a nats-server in this process; port -1 chooses one.
func startServer(t *testing.T, r roles, port int) *server.Server {
	t.Helper()
	return natstest.Start(t, func(o *server.Options) {
		o.Port = port
		o.Nkeys = []*server.NkeyUser{
			{Nkey: r.askerKey},
			{Nkey: r.workerKey, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"cards.images.*"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"workers.* workers", "$SRV.>", InboxPrefix + ".>"}},
				Response:  &server.ResponsePermission{MaxMsgs: 1000, Expires: time.Minute},
			}},
		}
	})
}

func connectAsker(t *testing.T, s *server.Server, r roles) *nats.Conn {
	t.Helper()
	nkey, err := nats.NkeyOptionFromSeed(r.askerSeed)
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Connect(t, s, nkey, nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0))
}

// process is a worker's run without a process around it.
type process struct {
	stop   context.CancelFunc
	exit   chan int
	ready  chan struct{}
	stderr *watched
}

// watched keeps what was written and tells when "ready" was.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bytes.Contains(p, []byte("msg=ready")) {
		w.ready()
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// runEcho runs handler as the worker echo without a process.
func runEcho(ctx context.Context, handler Handler, args []string, stderr io.Writer) int {
	p := newProgram("echo", []Option{Version("1.0.0")})
	p.handler = handler
	c, err := p.parse(args, func(string) string { return "" }, stderr)
	if err != nil {
		return exitUsage
	}
	return p.run(ctx, c, streams{out: io.Discard, err: stderr, log: stderr})
}

func start(t *testing.T, handler Handler, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{stop: cancel, exit: make(chan int, 1), ready: make(chan struct{})}
	p.stderr = &watched{ready: sync.OnceFunc(func() { close(p.ready) })}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		p.exit <- runEcho(ctx, handler, args, p.stderr)
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return p
}

func (p *process) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case code := <-p.exit:
		t.Fatalf("exit code %d before ready: %s", code, p.stderr)
	}
}

func echo(_ context.Context, req Request) (Response, error) {
	if text := string(req.Data); strings.HasPrefix(text, "reject ") {
		return Response{}, Reject("art", text)
	}
	return Response{Data: req.Data}, nil
}

func TestServiceAnswersWithTheLeastPermissions(t *testing.T) {
	build = "a key" // the linker sets it otherwise
	defer func() { build = "" }()
	r := newRoles(t)
	s := startServer(t, r, -1)
	p := start(t, echo, "--nats", s.ClientURL(), "--nkey", r.workerSeed, "--instance", "echo-1")
	p.waitReady(t)
	nc := connectAsker(t, s, r)

	reply, err := nc.Request("workers.echo", []byte("龍"), 5*time.Second)
	if err != nil || string(reply.Data) != "龍" || reply.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Fatalf("got %v, %v", reply, err)
	}
	reply, err = nc.Request("workers.echo", []byte("reject a\nb"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if code, why := reply.Header.Get(micro.ErrorCodeHeader), reply.Header.Get(micro.ErrorHeader); code != CodeRejected || why != "reject a b" {
		t.Errorf("code %q, description %q", code, why)
	}
	if body := string(reply.Data); body != `{"column":"art","reason":"reject a b"}` {
		t.Errorf("body %s", body)
	}

	pong, err := nc.Request("$SRV.PING.echo", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var ping micro.Ping
	if err := json.Unmarshal(pong.Data, &ping); err != nil || ping.Metadata["instance"] != "echo-1" || ping.Metadata["pid"] != strconv.Itoa(os.Getpid()) ||
		ping.Metadata["build"] != "a key" {
		t.Errorf("ping %s: %v", pong.Data, err)
	}
	answer, err := nc.Request("$SRV.STATS.echo", nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var stats struct {
		Endpoints []struct {
			Requests int       `json:"num_requests"`
			Data     poolStats `json:"data"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(answer.Data, &stats); err != nil || len(stats.Endpoints) != 1 {
		t.Fatalf("stats %s: %v", answer.Data, err)
	}
	if e := stats.Endpoints[0]; e.Requests != 2 || e.Data.Requests != 2 || e.Data.Rejected != 1 {
		t.Errorf("stats %+v", e)
	}

	p.stop()
	if code := <-p.exit; code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if _, err := nc.Request("workers.echo", nil, 5*time.Second); err != nats.ErrNoResponders {
		t.Errorf("after the stop: %v", err)
	}
}

func TestServiceIsBackAfterTheServer(t *testing.T) {
	r := newRoles(t)
	s := startServer(t, r, -1)
	port := s.Addr().(*net.TCPAddr).Port
	p := start(t, echo, "--nats", s.ClientURL(), "--nkey", r.workerSeed)
	p.waitReady(t)
	for range 3 {
		s.Shutdown()
		s.WaitForShutdown()
		s = startServer(t, r, port)
		nc := connectAsker(t, s, r)
		back := time.Now()
		for {
			_, err := nc.Request("workers.echo", []byte("hello"), time.Second)
			if err == nil {
				break
			}
			if time.Since(back) > 10*time.Second {
				t.Fatalf("not back: %v", err)
			}
		}
		t.Logf("back %v after the server", time.Since(back).Round(time.Millisecond))
	}
}

func TestStopAnswersWhatIsInWork(t *testing.T) {
	r := newRoles(t)
	s := startServer(t, r, -1)
	inWork, release := make(chan struct{}), make(chan struct{})
	p := start(t, func(context.Context, Request) (Response, error) {
		close(inWork)
		<-release
		return Response{Data: []byte("done")}, nil
	}, "--nats", s.ClientURL(), "--nkey", r.workerSeed)
	p.waitReady(t)
	nc := connectAsker(t, s, r)
	answered := make(chan string, 1)
	go func() {
		reply, err := nc.Request("workers.echo", nil, 10*time.Second)
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(reply.Data)
	}()
	<-inWork
	p.stop()
	close(release)
	if got := <-answered; got != "done" {
		t.Errorf("answered %q", got)
	}
	if code := <-p.exit; code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// What was read from the server but had not reached the handler when the worker was told to stop was lost.
func TestStopAnswersWhatHasCome(t *testing.T) {
	const requests = 20_000
	r := newRoles(t)
	s := startServer(t, r, -1)
	p := start(t, echo, "--nats", s.ClientURL(), "--nkey", r.workerSeed)
	p.waitReady(t)
	nc := connectAsker(t, s, r)
	var mu sync.Mutex
	replies := map[string]int{}
	inbox := nc.NewInbox()
	if _, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		replies[m.Subject]++
	}); err != nil {
		t.Fatal(err)
	}
	for n := range requests {
		if err := nc.PublishRequest("workers.echo", inbox+"."+strconv.Itoa(n), []byte("card")); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if code := <-p.exit; code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	all := make(chan struct{})
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := nc.Barrier(func() { close(all) }); err != nil {
		t.Fatal(err)
	}
	<-all
	mu.Lock()
	defer mu.Unlock()
	if len(replies) != requests {
		t.Errorf("%d of %d requests were answered", len(replies), requests)
	}
	for subject, count := range replies {
		if count != 1 {
			t.Fatalf("%d replies on %s", count, subject)
		}
	}
}

// Whoever is answered on $SRV.PING may ask at once: the service's own subject was subscribed before it.
func TestReadyMeansReachable(t *testing.T) {
	r := newRoles(t)
	s := startServer(t, r, -1)
	p := start(t, echo, "--nats", s.ClientURL(), "--nkey", r.workerSeed)
	p.waitReady(t)
	found, err := s.Connz(&server.ConnzOptions{SubscriptionsDetail: true})
	if err != nil || len(found.Conns) != 1 {
		t.Fatalf("got %+v, %v", found, err)
	}
	var own, ping int // a client numbers its subscriptions as it makes them
	for _, sub := range found.Conns[0].SubsDetail {
		number, err := strconv.Atoi(sub.Sid)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case sub.Subject == "workers.echo":
			own = number
		case strings.HasPrefix(sub.Subject, "$SRV.PING") && (ping == 0 || number < ping):
			ping = number
		}
	}
	if own == 0 || ping == 0 || own > ping {
		t.Errorf("workers.echo was subscribed as number %d, $SRV.PING as %d", own, ping)
	}
}

func TestCannotStart(t *testing.T) {
	r := newRoles(t)
	s := startServer(t, r, -1)
	_, stranger := newUser(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nats://user:secret@" + free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nobody listens": {[]string{"--nats", nobody}, exitStopped, "cannot connect to nats://***@127.0.0.1:"},
		"unknown key":    {[]string{"--nats", s.ClientURL(), "--nkey", stranger}, exitStopped, "Authorization Violation"},
		"no seed file":   {[]string{"--nats", s.ClientURL(), "--nkey", "/nowhere/seed.nk"}, exitStopped, "/nowhere/seed.nk"},
		"no creds file":  {[]string{"--nats", s.ClientURL(), "--creds", "/nowhere/user.creds"}, exitStopped, "/nowhere/user.creds"},
		"no server":      {nil, exitUsage, "PLATFORM_NATS_URL"},
		"an argument":    {[]string{"--nats", nobody, "more"}, exitUsage, `"more"`},
		"no room":        {[]string{"--nats", nobody, "--queue", "0"}, exitUsage, "--queue"},
		"unknown flag":   {[]string{"--rate", "3"}, exitUsage, "-rate"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, echo, c.args...)
			if code := <-p.exit; code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			text := p.stderr.String()
			if !strings.Contains(text, c.says) || strings.Contains(text, "secret") {
				t.Errorf("says %s", text)
			}
			if lines := strings.Count(text, "\n"); c.code == exitStopped && lines != 1 {
				t.Errorf("%d lines: %s", lines, text)
			}
		})
	}
}

func TestEnvironmentIsTheDefaultOfFlags(t *testing.T) {
	env := map[string]string{
		"PLATFORM_NATS_URL": "nats://env", "PLATFORM_NKEY_FILE": "env.nk", "PLATFORM_INSTANCE": "env-1",
	}
	var stderr bytes.Buffer
	p := newProgram("echo", nil)
	p.handler = echo
	c, err := p.parse([]string{"--instance", "flag-1"}, func(k string) string { return env[k] }, &stderr)
	if err != nil || c.url != "nats://env" || c.nkeyFile != "env.nk" || c.instance != "flag-1" {
		t.Errorf("got %+v, %v", c, err)
	}
	c, err = p.parse([]string{"--creds", "flag.creds"}, func(k string) string { return env[k] }, &stderr)
	if err != nil || c.nkeyFile != "" || c.credsFile != "flag.creds" {
		t.Errorf("got %+v, %v", c, err)
	}
}
