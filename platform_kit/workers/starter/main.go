// Command starter is a worker: it answers what is asked on the subject workers.starter.
package main

import "platform-kit/worker"

func main() {
	worker.Main("starter", handle, worker.Version("0.1.0"))
}
