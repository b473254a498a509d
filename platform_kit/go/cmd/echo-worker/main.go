// Command echo-worker gives back what it is given: the least a worker can do, and so the measure of what each
// transport costs.
package main

import (
	"platform-kit/worker"
	"platform-kit/worker/echo"
)

func main() {
	worker.Main(echo.Name, echo.Handle, worker.Version(echo.Version))
}
