// Package components is what the kit's Wombat has beyond its stock components.
//
//	jetstream_work  input      messages of a work queue, each acknowledged alone and kept in progress while it is worked on
//	ask_worker      processor  one question to a worker, which waits as long as the worker works on it and no longer
//
// The two belong together. A message whose worker is busy is not put back, but held: the input tells the server that
// it is still being worked on, so nothing runs into a time limit because the workers are slow, and the server sends
// no more than the consumer's max_ack_pending. How often a worker failed on a message is counted where it is seen, not
// by the server's deliveries: those also count every restart on the way.
package components

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	reconnectWait  = 50 * time.Millisecond
	connectTimeout = 5 * time.Second
)

// connectionFields are the first fields of each component; the names are those of the stock components.
func connectionFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringListField("urls").
			Description("The NATS servers to connect to.").
			Example([]string{"nats://127.0.0.1:4222"}),
		service.NewObjectField("auth",
			service.NewStringField("nkey_file").Description("A file with an nkey seed.").Optional(),
			service.NewStringField("user_credentials_file").Description("A file with user JWT and seed.").Optional(),
		).Description("How to be let in.").Optional().Advanced(),
	}
}

// connection is where and how to connect. A lost server is waited for, for ever.
type connection struct {
	urls    string
	options []nats.Option
}

func parseConnection(conf *service.ParsedConfig, mgr *service.Resources) (connection, error) {
	urls, err := conf.FieldStringList("urls")
	if err != nil {
		return connection{}, err
	}
	if len(urls) == 0 {
		return connection{}, errors.New("urls is empty: name a NATS server")
	}
	log := mgr.Logger()
	c := connection{urls: strings.Join(urls, ","), options: []nats.Option{
		nats.Name(mgr.Label()),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warnf("connection lost, reconnecting: %v", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Errorf("nats, subject %s: %v", sub.Subject, err)
				return
			}
			log.Errorf("nats: %v", err)
		}),
	}}
	if conf.Contains("auth", "nkey_file") {
		path, err := conf.FieldString("auth", "nkey_file")
		if err != nil {
			return c, err
		}
		if path != "" {
			// Read when the connection is made: a config can be checked where its key is not.
			c.options = append(c.options, func(o *nats.Options) error {
				option, err := nats.NkeyOptionFromSeed(path)
				if err != nil {
					return err
				}
				return option(o)
			})
		}
	}
	if conf.Contains("auth", "user_credentials_file") {
		path, err := conf.FieldString("auth", "user_credentials_file")
		if err != nil {
			return c, err
		}
		if path != "" {
			c.options = append(c.options, nats.UserCredentials(path))
		}
	}
	return c, nil
}

func (c connection) connect(more ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(c.urls, append(append([]nats.Option{}, c.options...), more...)...)
}
