package components

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	reconnectWait  = 50 * time.Millisecond
	connectTimeout = 5 * time.Second
)

var errServerAway error = &awayError{"the NATS server is away, or was"}

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

func inboxField() *service.ConfigField {
	return service.NewStringField("inbox_prefix").Description("Where answers go.").Default("_INBOX").Advanced()
}

// address is where and how to connect: components with the same one share a connection.
type address struct {
	urls, nkeyFile, credentialsFile, inboxPrefix string
}

func parseAddress(conf *service.ParsedConfig) (a address, err error) {
	urls, err := conf.FieldStringList("urls")
	if err != nil {
		return a, err
	}
	if len(urls) == 0 {
		return a, errors.New("urls is empty: name a NATS server")
	}
	a.urls, a.inboxPrefix = strings.Join(urls, ","), "_INBOX"
	for to, path := range map[*string][]string{
		&a.nkeyFile:        {"auth", "nkey_file"},
		&a.credentialsFile: {"auth", "user_credentials_file"},
		&a.inboxPrefix:     {"inbox_prefix"},
	} {
		if conf.Contains(path...) {
			if *to, err = conf.FieldString(path...); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

// connection is one to a server, for all components that name it. A lost server is waited for, for ever.
type connection struct {
	*nats.Conn
	reconnected atomic.Int64 // unix nanoseconds; zero if it never had to

	mu   sync.Mutex
	down chan struct{} // closed when the connection breaks; another one for the next

	address address
	users   int // guarded by connections
}

// connections are those that are open.
var connections = struct {
	sync.Mutex
	open map[address]*connection
}{open: map[address]*connection{}}

// connect returns the connection to an address; give it back with release. It succeeds although the server is not
// there yet: see [connection.up].
func connect(a address, log *service.Logger) (*connection, error) {
	connections.Lock()
	defer connections.Unlock()
	if c := connections.open[a]; c != nil {
		c.users++
		return c, nil
	}
	c := &connection{address: a, users: 1, down: make(chan struct{})}
	options := []nats.Option{
		nats.Name("wombat"),
		nats.CustomInboxPrefix(a.inboxPrefix),
		nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true), // the server may start after Wombat
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.broke()
			if err != nil {
				log.Warnf("connection lost, reconnecting: %v", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.reconnected.Store(time.Now().UnixNano()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				log.Errorf("nats, subject %s: %v", sub.Subject, err)
				return
			}
			log.Errorf("nats: %v", err)
		}),
	}
	if a.nkeyFile != "" {
		// Read when the connection is made: a config can be checked where its key is not.
		option, err := nats.NkeyOptionFromSeed(a.nkeyFile)
		if err != nil {
			return nil, fmt.Errorf("auth.nkey_file: %w", err)
		}
		options = append(options, option)
	}
	if a.credentialsFile != "" {
		options = append(options, nats.UserCredentials(a.credentialsFile))
	}
	nc, err := nats.Connect(a.urls, options...)
	if err != nil {
		return nil, err
	}
	c.Conn = nc
	connections.open[a] = c
	return c, nil
}

// release gives the connection back. The last one to do so closes it.
func (c *connection) release() {
	connections.Lock()
	c.users--
	last := c.users == 0
	if last {
		delete(connections.open, c.address)
	}
	connections.Unlock()
	if last {
		c.Close()
	}
}

// up says why the connection does not stand now, if it does not.
func (c *connection) up() error {
	if c.IsConnected() {
		return nil
	}
	if err := c.LastError(); err != nil {
		return fmt.Errorf("no connection to NATS: %w", err)
	}
	return errServerAway
}

// broke tells those who wait for an answer that it will not come.
func (c *connection) broke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.down)
	c.down = make(chan struct{})
}

// lost is closed when the connection breaks the next time. Take it before you ask [connection.up].
func (c *connection) lost() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

// since is how long the connection has stood; nothing if it does not.
func (c *connection) since() time.Duration {
	if !c.IsConnected() {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - c.reconnected.Load())
}
