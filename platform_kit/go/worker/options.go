package worker

import (
	"fmt"
	"regexp"
)

// Option says something about a worker that has a default; see [Main].
type Option func(*program)

// Version is the worker's version, semantic: "1.2.3". Without it the worker says "0.0.0".
func Version(version string) Option { return func(p *program) { p.version = version } }

// build is the key of this build. The kit sets it: -ldflags "-X platform-kit/worker.build=<key>".
var build string

// program is what the author of a worker has said.
type program struct {
	name, version string
	handler       Handler // or
	setup         Setup
}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
)

func newProgram(name string, options []Option) *program {
	p := &program{name: name, version: "0.0.0"}
	for _, option := range options {
		option(p)
	}
	return p
}

func (p *program) valid() error {
	switch {
	case !nameForm.MatchString(p.name):
		return fmt.Errorf("a worker cannot be named %q: letters, digits, - and _ only", p.name)
	case !versionForm.MatchString(p.version):
		return fmt.Errorf("%q is not a semantic version such as 1.2.3", p.version)
	case p.handler == nil && p.setup == nil:
		return fmt.Errorf("the worker %s has no handler", p.name)
	}
	return nil
}

// build returns the handler. A setup that panics has failed, like any other.
func (p *program) build(platform Platform) (handler Handler, err error) {
	if p.setup == nil {
		return p.handler, nil
	}
	defer func() {
		if value := recover(); value != nil {
			handler, err = nil, panicked(value, logPanic(platform.Log))
		}
	}()
	handler, err = p.setup(platform)
	if err == nil && handler == nil {
		err = fmt.Errorf("the setup of the worker %s returned no handler", p.name)
	}
	return handler, err
}
