package worker

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// private are the real streams. They are kept here for as long as the process lives: a file nobody refers to is closed
// by the garbage collector, and a stderr that is closed makes Wombat end its subprocess.
var private [3]*os.File

// takeStreams moves the process's standard streams out of the reach of everything but the worker itself.
//
// Between frames, and in the answer of a command, a single stray byte spoils what follows, and Wombat takes a line
// on stderr for the failure of the message in flight. So the real streams go to private descriptors that no child
// inherits, descriptor 0 becomes empty, and 1 and 2 become the log, or nothing if logFile is "". That catches a
// handler's Println, a library in C, a child process and the trace of a crash alike.
func takeStreams(logFile string) (streams, error) {
	if logFile == "" {
		logFile = os.DevNull
	}
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return streams{}, fmt.Errorf("no log file: %w", err)
	}
	defer log.Close()
	empty, err := os.Open(os.DevNull)
	if err != nil {
		return streams{}, err
	}
	defer empty.Close()

	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return streams{}, fmt.Errorf("%s is closed: %w", name, err)
		}
		private[fd] = os.NewFile(uintptr(copied), name)
	}
	for fd, instead := range []*os.File{empty, log, log} {
		if err := unix.Dup2(int(instead.Fd()), fd); err != nil {
			return streams{}, fmt.Errorf("cannot redirect descriptor %d: %w", fd, err)
		}
	}
	return streams{in: private[0], out: private[1], err: private[2], log: os.Stderr}, nil
}
