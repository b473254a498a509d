package processor

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"platform-kit/worker"
)

// obedient does what a message says.
func obedient(ctx context.Context, req worker.Request) (worker.Response, error) {
	switch what, rest, _ := strings.Cut(string(req.Data), " "); what {
	case "reject":
		return worker.Response{}, worker.Reject("art", rest)
	case "away":
		return worker.Response{}, worker.Unavailable(errors.New("no bucket"))
	case "panic":
		panic("boom")
	case "obey":
		<-ctx.Done()
		return worker.Response{}, ctx.Err()
	case "hang":
		<-make(chan struct{})
	case "headers":
		return worker.Response{Header: map[string][]string{"Seen": req.Header["kind"]}, Data: req.Data}, nil
	}
	return worker.Response{Data: req.Data}, nil
}

func environment(t *testing.T) *service.Environment {
	t.Helper()
	env := service.NewEnvironment()
	if err := RegisterIn(env, "obedient-one", "Does what a message says.", obedient); err != nil {
		t.Fatal(err)
	}
	return env
}

// outcome of one message: its body and metadata, and the error it is marked with.
type outcome struct {
	body string
	meta map[string]string
	err  string
}

func failure(code, description, body string) outcome {
	return outcome{body, map[string]string{"Nats-Service-Error-Code": code, "Nats-Service-Error": description, "kind": "test"}, ""}
}

func TestABatchIsAnsweredMessageByMessage(t *testing.T) {
	b := environment(t).NewStreamBuilder()
	mux := http.NewServeMux()
	b.SetHTTPMux(mux)
	send, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	var got []outcome
	for _, err := range []error{
		b.SetLoggerYAML("level: OFF"),
		b.SetMetricsYAML("json_api: {}"),
		b.AddProcessorYAML("worker_obedient_one: { timeout: 20ms, max_request_bytes: 100 }"),
		b.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
			for _, msg := range batch {
				got = append(got, outcomeOf(t, msg))
			}
			return nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stream, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(t.Context()) }()

	plain := map[string]string{"kind": "test"}
	want := []struct {
		body string
		outcome
	}{
		{"hello", outcome{"hello", plain, ""}},
		{"", outcome{"", plain, ""}},
		{"reject a\nb", failure("422", "a b", `{"column":"art","reason":"a b"}`)},
		{"away", failure("503", "no bucket", `{"column":null,"reason":"no bucket"}`)},
		{"panic", failure("500", "the handler panicked: boom", `{"column":null,"reason":"the handler panicked: boom"}`)},
		{"hang", failure("504", "not done within 20ms: context deadline exceeded", `{"column":null,"reason":"not done within 20ms: context deadline exceeded"}`)},
		{strings.Repeat("x", 101), failure("422", "the request has 101 bytes, more than the limit of 100", `{"column":null,"reason":"the request has 101 bytes, more than the limit of 100"}`)},
		{"headers", outcome{"headers", map[string]string{"kind": "test", "Seen": "test"}, ""}},
	}
	var batch service.MessageBatch
	for _, w := range want {
		msg := service.NewMessage([]byte(w.body))
		msg.MetaSetMut("kind", "test")
		batch = append(batch, msg)
	}
	if err := send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i].body != w.outcome.body || got[i].err != w.outcome.err || !maps.Equal(got[i].meta, w.meta) {
			t.Errorf("%.20q: got %+v, want %+v", w.body, got[i], w.outcome)
		}
	}

	page := httptest.NewRecorder()
	mux.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, counter := range []string{
		`worker_replies{code=\"200\",label=\"\",path=\"root.pipeline.processors.0\"}":3`,
		`worker_replies{code=\"422\",label=\"\",path=\"root.pipeline.processors.0\"}":2`,
		`worker_replies{code=\"500\",`, `worker_replies{code=\"503\",`, `worker_replies{code=\"504\",`, `worker_latency_ns{`,
	} {
		if !strings.Contains(page.Body.String(), counter) {
			t.Errorf("%s is not among the metrics", counter)
		}
	}
	if t.Failed() {
		t.Log(page.Body)
	}
	if err := stream.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func outcomeOf(t *testing.T, msg *service.Message) outcome {
	t.Helper()
	body, err := msg.AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{body: string(body), meta: map[string]string{}}
	if err := msg.GetError(); err != nil {
		o.err = err.Error()
	}
	if err := msg.MetaWalk(func(key, value string) error { o.meta[key] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAMessageIsGivenBackWhenWombatStops(t *testing.T) {
	conf, err := spec("").ParseYAML("{}", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, service.MockResources(), obedient)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, body := range []string{"obey", "hang"} {
		if batch, err := p.Process(ctx, service.NewMessage([]byte(body))); !errors.Is(err, context.Canceled) || batch != nil {
			t.Errorf("%s: got %v, %v", body, batch, err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAConfigIsChecked(t *testing.T) {
	env := environment(t)
	for conf, says := range map[string]string{
		"worker_obedient_one: {}":                         "",
		"worker_obedient_one: { timeout: 2s }":            "",
		"worker_obedient_one: { max_request_bytes: 0 }":   "must be positive",
		"worker_obedient_one: { timeouts: 2s }":           "timeouts",
		"worker_obedient_one: { timeout: soon }":          "soon",
		"worker_obedient_one: { timeout: -1s }":           "must be positive",
		"worker_obedient_one: { max_request_bytes: lot }": "lot",
	} {
		b := env.NewStreamBuilder()
		err := b.AddProcessorYAML(conf)
		if err == nil {
			err = build(t, b)
		}
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", conf, err)
		}
	}
	if err := RegisterIn(env, "no such name", "", obedient); err == nil {
		t.Error("a name with spaces is taken")
	}
}

// build builds a stream and ends it at once: a processor reads its fields only then.
func build(t *testing.T, b *service.StreamBuilder) error {
	t.Helper()
	for _, err := range []error{
		b.SetLoggerYAML("level: OFF"), b.AddInputYAML(`generate: { count: 1, interval: "", mapping: root = "x" }`), b.AddOutputYAML("drop: {}"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stream, err := b.Build()
	if err != nil {
		return err
	}
	return stream.Run(t.Context())
}
