package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestPlaceOfAMessage(t *testing.T) {
	want := place{sequence: 7, delivery: 8, time: 1700000000000000001, pending: 9}
	for _, reply := range []string{
		"$JS.ACK.S.c.1.7.8.1700000000000000001.9",
		"$JS.ACK.hub.ACC.S.c.1.7.8.1700000000000000001.9",
		"$JS.ACK._.ACC.S.c.1.7.8.1700000000000000001.9.token",
	} {
		if got, ok := parsePlace(reply); !ok || got != want {
			t.Errorf("parsePlace(%q) = %v, %v", reply, got, ok)
		}
	}
	for _, reply := range []string{"", "a.b", "$JS.ACK.S.c.1.7.8.1", "_INBOX.x.y"} {
		if got, ok := parsePlace(reply); ok {
			t.Errorf("parsePlace(%q) = %v, want no place", reply, got)
		}
	}
}

func TestAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		text      string
		sequence  int64
		duplicate bool
		refused   string
	}{
		{`{"stream":"S","seq":12}`, 12, false, ""},
		{`{"stream":"S", "seq": 12, "domain":"d"}`, 12, false, ""},
		{`{"stream":"S","seq":12,"duplicate": true}`, 12, true, ""},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"seq":0}`, 0, false, "maximum messages exceeded"},
		{`hello`, 0, false, "no acknowledgement"},
		{`{}`, 0, false, "no acknowledgement"},
	} {
		sequence, duplicate, refused := parseAck([]byte(c.text))
		if sequence != c.sequence || duplicate != c.duplicate || (refused != nil) != (c.refused != "") {
			t.Errorf("parseAck(%s) = %d, %v, %v", c.text, sequence, duplicate, refused)
		}
		if refused != nil && !strings.Contains(refused.Description, c.refused) {
			t.Errorf("parseAck(%s) says %q", c.text, refused.Description)
		}
	}
}

func TestHeadersThereAndBack(t *testing.T) {
	header := nats.Header{"Card-Set": {"ember: a"}, "X": {"", "é"}}
	lines := headerLines(header)
	if want := "Card-Set: ember: a\r\nX: \r\nX: é\r\n"; string(lines) != want {
		t.Fatalf("headerLines = %q", lines)
	}
	if again := headerLines(parseHeader(string(lines))); !bytes.Equal(again, lines) {
		t.Fatalf("there and back: %q", again)
	}
}

func TestDeniedSubjects(t *testing.T) {
	subject, publish := deniedSubject(`nats: permissions violation: Permissions Violation for Publish to "a.b"`)
	if subject != "a.b" || !publish {
		t.Fatalf("%q, %v", subject, publish)
	}
	if _, publish := deniedSubject(`Permissions Violation for Subscription to "a.b"`); publish {
		t.Fatal("a subscription is no publication")
	}
}

func TestWhatCannotBeAskedEndsWithAReason(t *testing.T) {
	for _, c := range []struct {
		args  []string
		stdin string
		code  int
		says  string
	}{
		{nil, "", exitUsage, "usage"},
		{[]string{"write"}, "", exitUsage, "usage"},
		{[]string{"read"}, "", exitFailed, "stdin ended"},
		{[]string{"read"}, "{\n", exitFailed, `"kind":"usage"`},
		{[]string{"publish"}, "{}\n", exitFailed, `"kind":"connect"`},
	} {
		var said bytes.Buffer
		env := map[string]string{"PLATFORM_NATS_URL": "nats://127.0.0.1:1"}
		code := run(c.args, strings.NewReader(c.stdin), &bytes.Buffer{}, &said, func(name string) string { return env[name] })
		if code != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("run(%v, %q) = %d, %q", c.args, c.stdin, code, said.String())
		}
	}
}

// A consumer that was left may have sent what nobody took; taking it later asked a subscription that was gone.
func TestWhatALeftConsumerHasSentIsNotTaken(t *testing.T) {
	sent := make(chan *nats.Msg, 1)
	sent <- &nats.Msg{}
	r := &reader{messages: sent}
	r.leave()
	select {
	case <-r.messages:
		t.Error("it was taken")
	default:
	}
}
