package components

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const kept = "kept.${! @name.or(\"x\") }"

// newStoreTo makes the output, connected; more is further YAML.
func newStoreTo(t *testing.T, url, subject, more string) *storeOutput {
	t.Helper()
	conf, err := storeOutputSpec().ParseYAML(fmt.Sprintf("urls: [ %q ]\nsubject: '%s'\n%s", url, subject, more), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := newStoreOutput(conf, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close(context.Background()) })
	if err := out.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

// makeKept makes stream KEPT, to which kept.* goes.
func makeKept(t *testing.T, js jetstream.JetStream, change func(*jetstream.StreamConfig)) jetstream.Stream {
	t.Helper()
	config := jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.*"}}
	if change != nil {
		change(&config)
	}
	stream, err := js.CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func stored(t *testing.T, stream jetstream.Stream) int {
	t.Helper()
	info, err := stream.Info(context.Background())
	if err != nil {
		return -1
	}
	return int(info.State.Msgs)
}

// numbered is a batch of messages with the bodies 0, 1, 2.
func numbered(count int) service.MessageBatch {
	batch := make(service.MessageBatch, count)
	for i := range batch {
		batch[i] = service.NewMessage([]byte(strconv.Itoa(i)))
		batch[i].MetaSetMut("name", strconv.Itoa(i))
	}
	return batch
}

// failures are the errors of a batch by index.
func failures(t *testing.T, batch service.MessageBatch, index *service.Indexer, err error) map[int]error {
	t.Helper()
	found := map[int]error{}
	var batched *service.BatchError
	if errors.As(err, &batched) {
		batched.WalkMessagesIndexedBy(index, func(i int, _ *service.Message, err error) bool {
			if err != nil {
				found[i] = err
			}
			return true
		})
	} else if err != nil {
		for i := range batch {
			found[i] = err
		}
	}
	return found
}

func TestABatchIsStoredInItsOrder(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	stream := makeKept(t, js, nil)
	out := newStoreTo(t, s.ClientURL(), kept, `
message_id: 'id-${! @name }'
headers: { Shape: 'round ${! content() }' }
metadata: { exclude_prefixes: [ name ] }
`)
	batch := numbered(700)
	for _, msg := range batch {
		msg.MetaSetMut("Colour", "blue")
		msg.MetaSetMut("Nats-Expected-Last-Sequence", "99") // of the stream it came from
	}
	if err := out.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, stream); n != 700 {
		t.Fatalf("%d messages are stored, not 700", n)
	}
	for _, i := range []int{0, 1, 350, 699} {
		msg, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		want := nats.Header{"Nats-Msg-Id": {fmt.Sprintf("id-%d", i)}, "Shape": {fmt.Sprintf("round %d", i)}, "Colour": {"blue"}}
		if string(msg.Data) != strconv.Itoa(i) || msg.Subject != fmt.Sprintf("kept.%d", i) || fmt.Sprint(msg.Header) != fmt.Sprint(want) {
			t.Errorf("number %d is %q under %s with %v", i, msg.Data, msg.Subject, msg.Header)
		}
	}
	// The same once more, as after an answer that was lost: it counts as stored, and is there once.
	if err := out.WriteBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, stream); n != 700 {
		t.Errorf("%d messages are stored after the second time, not 700", n)
	}
}

func TestOnlyWhatWasNotStoredFails(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	stream := makeKept(t, js, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 })
	out := newStoreTo(t, s.ClientURL(), `${! @subject.or("kept." + @name) }`, "")
	batch := numbered(8)
	batch[1].MetaSetMut("subject", "nobody.takes.it")
	batch[2].MetaSetMut("subject", "kept.a b")
	batch[3].SetBytes(make([]byte, 2000))    // the stream's limit
	batch[4].SetBytes(make([]byte, 2<<20))   // the server's limit
	batch[5].MetaSetMut("subject", int64(5)) // no stream takes 5
	batch[6].MetaSetMut("subject", "")
	index := batch.Index()
	err := out.WriteBatch(t.Context(), batch)
	if err == nil || !strings.Contains(err.Error(), "6 of 8 messages") {
		t.Errorf("the error does not count: %v", err)
	}
	found := failures(t, batch, index, err)
	for i, want := range map[int]string{
		1: "no stream takes", 2: `"kept.a b" cannot be a subject`, 3: "message size exceeds", 4: "too many for the server",
		5: "no stream takes", 6: `"" cannot be a subject`,
	} {
		if found[i] == nil || !strings.Contains(found[i].Error(), want) {
			t.Errorf("message %d: %v does not say %q", i, found[i], want)
		}
	}
	if len(found) != 6 || stored(t, stream) != 2 {
		t.Errorf("%d failed and %d are stored: %v", len(found), stored(t, stream), found)
	}
}

func TestAStreamThatSaysNothingIsNotWaitedForLong(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	sub, err := nc.Subscribe("kept.*", func(*nats.Msg) {}) // takes it, and is no stream
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	out := newStoreTo(t, s.ClientURL(), kept, "timeout: 50ms")
	if err := out.WriteBatch(t.Context(), numbered(2)); !errors.Is(err, errSilence) {
		t.Errorf("%v instead of silence", err)
	}
	_ = sub.Unsubscribe()
	answers := []string{``, `{}`, `{"stream":"KEPT","seq":`, `nonsense`, `{"stream":"KEPT","error":{"code":400,"description":"sealed"}}`}
	for _, answer := range answers {
		wrong, err := nc.Subscribe("kept.*", func(m *nats.Msg) { _ = m.Respond([]byte(answer)) })
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushTimeout(limit); err != nil {
			t.Fatal(err)
		}
		if err := out.WriteBatch(t.Context(), numbered(1)); err == nil {
			t.Errorf("the answer %q counts as stored", answer)
		}
		_ = wrong.Unsubscribe()
	}
}

func TestABrokenConnectionEndsTheWaitAndNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, -1)
	_, js := dial(t, s)
	stream := makeKept(t, js, nil)
	out := newStoreTo(t, s.ClientURL(), kept, "message_id: '${! @name }'\ntimeout: 10m")
	const batches, size = 40, 250
	var wait sync.WaitGroup
	halfway := make(chan struct{})
	for i := range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for j := i; j < batches; j += 4 {
				if j == batches/2 {
					close(halfway)
				}
				batch := numbered(size)
				for k, msg := range batch {
					msg.MetaSetMut("name", fmt.Sprintf("%d-%d", j, k))
				}
				for out.WriteBatch(t.Context(), batch) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		}()
	}
	<-halfway
	port := portOf(s)
	s.Shutdown()
	s.WaitForShutdown()
	if err := out.WriteBatch(t.Context(), numbered(1)); err == nil {
		t.Error("stored although nobody is there")
	}
	startServer(t, dir, port)
	wait.Wait()
	eventually(t, "all messages once", func() bool { return stored(t, stream) == batches*size })
}

func TestTheEndOfThePipelineEndsTheWriting(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	nc, _ := dial(t, s)
	arrived := make(chan *nats.Msg, 1)
	if _, err := nc.ChanSubscribe("kept.*", arrived); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(limit); err != nil {
		t.Fatal(err)
	}
	out := newStoreTo(t, s.ClientURL(), kept, "timeout: 10m")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if err := out.WriteBatch(ctx, numbered(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v instead of the end", err)
	}
	if err := out.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := out.WriteBatch(t.Context(), numbered(1)); !errors.Is(err, service.ErrNotConnected) {
		t.Errorf("%v after the end", err)
	}
}

func TestComponentsOfAnAddressShareAConnection(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	makeKept(t, js, nil)
	before := s.NumClients()
	first := newStoreTo(t, s.ClientURL(), kept, "")
	second := newStoreTo(t, s.ClientURL(), kept, "")
	newAsker(t, s.ClientURL(), "")
	other := newStoreTo(t, s.ClientURL(), kept, "inbox_prefix: _OTHER")
	if n := s.NumClients() - before; n != 2 {
		t.Errorf("%d connections, not 2", n)
	}
	_ = first.Close(t.Context())
	_ = first.Close(t.Context()) // once is enough
	_ = other.Close(t.Context())
	eventually(t, "the end of the unused one", func() bool { return s.NumClients()-before == 1 })
	if err := second.WriteBatch(t.Context(), numbered(3)); err != nil {
		t.Errorf("the end of one is not the end of the others: %v", err)
	}
}

func TestAWrongStoreIsRefused(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"urls: []\nsubject: a", "urls is empty"},
		{"urls: [ a ]\nsubject: a\ntimeout: 0s", "timeout must be positive"},
		{"urls: [ a ]\nsubject: '${! nonsense( }'", "subject"},
	} {
		conf, err := storeOutputSpec().ParseYAML(test.yaml, nil)
		if err == nil {
			_, err = newStoreOutput(conf, service.MockResources())
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v does not say %q", test.yaml, err, test.want)
		}
	}
}

// relayed runs a stream from WORK to KEPT in batches, and returns what stops it.
func relayed(t *testing.T, url, mapping string) (stop func()) {
	t.Helper()
	build := service.NewStreamBuilder()
	build.SetThreads(2)
	err := errors.Join(
		build.SetLoggerYAML("level: none"),
		build.AddInputYAML(fmt.Sprintf("jetstream_work: { urls: [ %q ], stream: WORK, consumer: workers, batch_size: 100, backoff: [ 10ms ] }", url)),
		build.AddProcessorYAML("mutation: |\n  "+mapping),
		build.AddOutputYAML(fmt.Sprintf(`
reject_errored:
  jetstream_store:
    urls: [ %q ]
    subject: kept.${! content() }
    message_id: ${! content() }
    max_in_flight: 4
`, url)),
	)
	if err != nil {
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

func TestOfABatchOnlyWhatFailedComesAgain(t *testing.T) {
	s := startServer(t, t.TempDir(), -1)
	_, js := dial(t, s)
	stream := makeKept(t, js, nil)
	consumer := makeWork(t, js, 30*time.Second, 300, 1000)
	// Every seventh message fails at first in the pipeline; 500 never gets through the output.
	relayed(t, s.ClientURL(), `root = if content().string().number() % 7 == 0 && @nats_num_delivered == "1" {
    throw("at first")
  } else if content() == "500" { "5 0 0" }`)
	eventually(t, "all but one", func() bool { return stored(t, stream) == 999 })
	eventually(t, "all acknowledgements but one", func() bool {
		info, err := consumer.Info(context.Background())
		return err == nil && info.NumPending == 0 && info.NumAckPending == 1
	})
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 143 came twice, and 500 again and again; nothing else of their batches.
	if info.Delivered.Consumer < 1143 || info.AckFloor.Stream != 500 {
		t.Errorf("delivered %d, acknowledged up to %d", info.Delivered.Consumer, info.AckFloor.Stream)
	}
	for _, i := range []int{0, 1, 7, 499, 501, 999} {
		if _, err := stream.GetLastMsgForSubject(t.Context(), fmt.Sprintf("kept.%d", i)); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

func TestARelayLosesNothingWhenTheServerOrItselfIsEnded(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, -1)
	_, js := dial(t, s)
	stream := makeKept(t, js, nil)
	const all = 6000
	consumer := makeWork(t, js, time.Second, 1000, 0)
	for i := range all {
		if _, err := js.PublishAsync(fmt.Sprintf("work.%d", i), []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 { // the client lets only so many be on their way
			<-js.PublishAsyncComplete()
		}
	}
	stop := relayed(t, s.ClientURL(), `meta seen = "yes"`)
	eventually(t, "some work", func() bool { return stored(t, stream) > all/10 })
	stop()
	relayed(t, s.ClientURL(), `meta seen = "yes"`)
	port := portOf(s)
	s.Shutdown()
	s.WaitForShutdown()
	startServer(t, dir, port)
	eventually(t, "all work", func() bool { return stored(t, stream) == all })
	eventually(t, "all acknowledgements", func() bool {
		pending, held := outstanding(t, consumer)
		return pending == 0 && held == 0
	})
}

func FuzzParseReply(f *testing.F) {
	for _, text := range []string{".1-0", ".zz-zz", "", ".", "-", ".-", ".1-", ".1--1", ".1-+1", "1-1", ".zzzzzzzzzzzzzzzz-1", ".1-zzzzzzzz"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, index, ok := parseReply(text)
		if !ok {
			return
		}
		again := fmt.Sprintf(".%s-%s", strconv.FormatUint(number, 36), strconv.FormatInt(int64(index), 36))
		if n, i, ok := parseReply(again); !ok || n != number || i != index || index < 0 {
			t.Errorf("%q reads as %d and %d, and %q does not", text, number, index, again)
		}
	})
}
