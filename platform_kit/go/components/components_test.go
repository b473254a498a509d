package components

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
)

const limit = 20 * time.Second

// startServer runs a nats-server with JetStream; port -1 takes a free one.
func startServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(limit) {
		t.Fatal("nats-server does not answer")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// portOf is where a server listens.
func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

func dial(t *testing.T, s *server.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// makeWork makes stream WORK with consumer `workers` and publishes count messages.
func makeWork(t *testing.T, js jetstream.JetStream, ackWait time.Duration, pending, count int) jetstream.Consumer {
	t.Helper()
	ctx := t.Context()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "WORK", Subjects: []string{"work.*"}, Retention: jetstream.WorkQueuePolicy,
	}); err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateConsumer(ctx, "WORK", jetstream.ConsumerConfig{
		Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: pending,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		msg := &nats.Msg{Subject: fmt.Sprintf("work.%d", i), Data: []byte(strconv.Itoa(i)), Header: nats.Header{"Colour": {"blue"}}}
		if _, err := js.PublishMsg(ctx, msg); err != nil {
			t.Fatal(err)
		}
	}
	return consumer
}

// seen counts what a stream gave.
type seen struct {
	mu       sync.Mutex
	times    map[string]int
	attempts map[string][]time.Time
}

func (s *seen) add(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[id]++
	s.attempts[id] = append(s.attempts[id], time.Now())
	return s.times[id]
}

func (s *seen) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

func (s *seen) twice() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for id, n := range s.times {
		if n > 1 {
			found = append(found, id)
		}
	}
	return found
}

func newSeen() *seen { return &seen{times: map[string]int{}, attempts: map[string][]time.Time{}} }

// consume runs a Wombat stream that reads the work and hands each message to handle. The returned function stops it.
func consume(t *testing.T, url string, threads int, handle func(context.Context, *service.Message) error) (stop func()) {
	t.Helper()
	build := service.NewStreamBuilder()
	build.SetThreads(threads)
	if err := build.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	err := build.AddInputYAML(`
jetstream_work:
  urls: [ "` + url + `" ]
  stream: WORK
  consumer: workers
  backoff: [ 20ms, 200ms ]
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := build.AddConsumerFunc(handle); err != nil {
		t.Fatal(err)
	}
	stream, err := build.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = stream.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			stopCtx, done := context.WithTimeout(context.Background(), limit)
			defer done()
			if err := stream.Stop(stopCtx); err != nil {
				t.Errorf("stopping: %v", err)
			}
			cancel()
			<-ended
		})
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, limit)
		}
	}
}

func outstanding(t *testing.T, consumer jetstream.Consumer) (pending, held int) {
	t.Helper()
	info, err := consumer.Info(context.Background())
	if err != nil {
		return -1, -1
	}
	return int(info.NumPending), info.NumAckPending
}

func TestEveryMessageIsTakenOnceAndAcknowledged(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	consumer := makeWork(t, js, 30*time.Second, 50, 500)
	got := newSeen()
	consume(t, s.ClientURL(), 8, func(_ context.Context, m *service.Message) error {
		for key, want := range map[string]string{"Colour": "blue", "nats_num_delivered": "1"} {
			if value, _ := m.MetaGet(key); value != want {
				t.Errorf("metadata %s is %q, not %q", key, value, want)
			}
		}
		body, _ := m.AsBytes()
		if subject, _ := m.MetaGet("nats_subject"); subject != "work."+string(body) {
			t.Errorf("message %s has the subject %s", body, subject)
		}
		got.add(string(body))
		return nil
	})
	eventually(t, "all work", func() bool { return got.distinct() == 500 })
	eventually(t, "all acknowledgements", func() bool {
		pending, held := outstanding(t, consumer)
		return pending == 0 && held == 0
	})
	if again := got.twice(); len(again) > 0 {
		t.Errorf("taken more than once: %v", again)
	}
}

func TestWorkMayTakeLongerThanTheAckWait(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	consumer := makeWork(t, js, time.Second, 16, 16)
	got := newSeen()
	// One at a time, 16 in all: the last waits in the input for several times the server's ack_wait.
	consume(t, s.ClientURL(), 1, func(ctx context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		got.add(string(body))
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	})
	eventually(t, "all work", func() bool { return got.distinct() == 16 })
	eventually(t, "all acknowledgements", func() bool {
		pending, held := outstanding(t, consumer)
		return pending == 0 && held == 0
	})
	if again := got.twice(); len(again) > 0 {
		t.Errorf("the server gave these again though they were in work: %v", again)
	}
}

func TestAFailedMessageComesAgainAlone(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	makeWork(t, js, 30*time.Second, 50, 20)
	got := newSeen()
	consume(t, s.ClientURL(), 4, func(_ context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		n := got.add(string(body))
		if delivered, _ := m.MetaGet("nats_num_delivered"); delivered != strconv.Itoa(n) {
			t.Errorf("message %s: attempt %d is called %s", body, n, delivered)
		}
		if string(body) == "7" && n < 4 {
			return fmt.Errorf("attempt %d", n)
		}
		return nil
	})
	eventually(t, "the fourth attempt", func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return len(got.times) == 20 && got.times["7"] == 4
	})
	if again := got.twice(); strings.Join(again, " ") != "7" {
		t.Errorf("taken more than once: %v", again)
	}
	at := got.attempts["7"]
	if pause := at[3].Sub(at[2]); pause < 200*time.Millisecond {
		t.Errorf("the third failure was followed by a pause of %v, not of 200ms", pause)
	}
}

func TestWhatWasNotBegunIsPutBackAtTheEnd(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	consumer := makeWork(t, js, 10*time.Minute, 40, 60)
	got, release := newSeen(), make(chan struct{})
	stop := consume(t, s.ClientURL(), 1, func(_ context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		got.add(string(body))
		<-release
		return nil
	})
	eventually(t, "as many as may be held", func() bool { _, held := outstanding(t, consumer); return held == 40 })
	close(release)
	stop()
	// The server's ack_wait is ten minutes: what comes now was put back.
	consume(t, s.ClientURL(), 4, func(_ context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		got.add(string(body))
		return nil
	})
	eventually(t, "the rest", func() bool { return got.distinct() == 60 })
}

func TestAnOutageLongerThanTheAckWaitDoublesNoWork(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, -1)
	_, js := dial(t, s)
	consumer := makeWork(t, js, 500*time.Millisecond, 64, 64)
	got, release := newSeen(), make(chan struct{})
	consume(t, s.ClientURL(), 2, func(_ context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		got.add(string(body))
		<-release
		return nil
	})
	eventually(t, "all messages are held", func() bool { _, held := outstanding(t, consumer); return held == 64 })
	port := portOf(s)
	s.Shutdown()
	s.WaitForShutdown()
	time.Sleep(time.Second) // twice the ack_wait: the server will give all of them again
	startServer(t, dir, port)
	eventually(t, "the server gives them again", func() bool {
		info, err := consumer.Info(context.Background())
		return err == nil && info.Delivered.Consumer > 64
	})
	close(release)
	eventually(t, "all acknowledgements", func() bool {
		pending, held := outstanding(t, consumer)
		return pending == 0 && held == 0
	})
	if again := got.twice(); len(again) > 0 {
		t.Errorf("worked on twice: %v", again)
	}
}

func TestTheServerMayComeBack(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, -1)
	_, js := dial(t, s)
	consumer := makeWork(t, js, time.Second, 20, 300)
	got := newSeen()
	consume(t, s.ClientURL(), 4, func(_ context.Context, m *service.Message) error {
		body, _ := m.AsBytes()
		got.add(string(body))
		time.Sleep(2 * time.Millisecond) // work
		return nil
	})
	eventually(t, "some work", func() bool { return got.distinct() > 50 })
	port := portOf(s)
	s.Shutdown()
	s.WaitForShutdown()
	startServer(t, dir, port)
	eventually(t, "all work", func() bool { return got.distinct() == 300 })
	eventually(t, "all acknowledgements", func() bool {
		pending, held := outstanding(t, consumer)
		return pending == 0 && held == 0
	})
}

func TestAConsumerThatCannotServeIsNamed(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	makeWork(t, js, time.Second, 20, 0)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NEWS", Subjects: []string{"news"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(t.Context(), "NEWS", jetstream.ConsumerConfig{Durable: "readers", AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ stream, consumer, want string }{
		{"WORK", "nobody", "consumer nobody of stream WORK"},
		{"NONE", "workers", "consumer workers of stream NONE"},
		{"NEWS", "readers", "work needs explicit"},
	} {
		conf, err := workInputSpec().ParseYAML(fmt.Sprintf("urls: [ %q ]\nstream: %s\nconsumer: %s\n", s.ClientURL(), test.stream, test.consumer), nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := newWorkInput(conf, service.MockResources())
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s of %s: %v does not say %q", test.consumer, test.stream, err, test.want)
		}
	}
}
