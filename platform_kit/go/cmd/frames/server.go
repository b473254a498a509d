package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	reconnectWait  = 50 * time.Millisecond
	connectTimeout = 5 * time.Second
	apiTimeout     = 5 * time.Second
)

// server is where and as whom to connect.
type server struct{ url, nkeyFile, credsFile, inbox string }

// link is a connection and what happens to it, for one goroutine that selects.
type link struct {
	*nats.Conn
	lost   chan struct{}
	back   chan struct{}
	denied chan string // the server's words
}

// connect opens the connection; a later loss of the server is waited out by whoever uses it.
func (s server) connect(name string) (*link, error) {
	l := &link{lost: make(chan struct{}, 64), back: make(chan struct{}, 64), denied: make(chan string, 1<<16)}
	if s.inbox == "" {
		s.inbox = "_INBOX"
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix(s.inbox),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // what could not be sent is known here, and is not sent behind our back
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { signal(l.lost) }),
		nats.ReconnectHandler(func(*nats.Conn) { signal(l.back) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				select {
				case l.denied <- err.Error():
				default: // the rows concerned run into their time limit instead
				}
			}
		}),
	}
	if s.nkeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(s.nkeyFile)
		if err != nil {
			return nil, failure{"credentials", fmt.Sprintf("no usable nkey seed in %s: %v", s.nkeyFile, err)}
		}
		opts = append(opts, nkey)
	}
	if s.credsFile != "" {
		opts = append(opts, nats.UserCredentials(s.credsFile))
	}
	nc, err := nats.Connect(s.url, opts...)
	if err != nil {
		return nil, failure{"connect", fmt.Sprintf("no NATS server lets us in: %v", err)}
	}
	l.Conn = nc
	return l, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// apiError is JetStream's own; what it means is in ErrCode.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return e.Description }

// api asks JetStream and decodes the answer.
func (l *link) api(subject string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	message, err := l.Request("$JS.API."+subject, body, apiTimeout)
	if err != nil {
		return err
	}
	var envelope struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(message.Data, &envelope); err != nil {
		return fmt.Errorf("an answer of JetStream cannot be read: %w", err)
	}
	if envelope.Error != nil {
		return envelope.Error
	}
	return json.Unmarshal(message.Data, answer)
}

// deniedSubject is the subject in the server's words: Permissions Violation for Publish to "a.b".
func deniedSubject(text string) (subject string, publish bool) {
	_, rest, found := strings.Cut(text, `"`)
	if !found {
		return "", false
	}
	subject, _, _ = strings.Cut(rest, `"`)
	return subject, strings.Contains(strings.ToLower(text), "for publish")
}
