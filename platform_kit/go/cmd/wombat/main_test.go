package main

import (
	"os"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestVersionIsTheRequiredOne fails when go.mod moves to another Wombat and the constant does not.
func TestVersionIsTheRequiredOne(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/wombatwisdom/wombat " + version + "\n"; !strings.Contains(string(mod), want) {
		t.Fatalf("go.mod does not require %q", strings.TrimSpace(want))
	}
}

// TestWorkersAreProcessors keeps what `wombat list` and `wombat lint` know of the workers inside.
func TestWorkersAreProcessors(t *testing.T) {
	registerWorkers()
	found := map[string]string{}
	service.GlobalEnvironment().WalkProcessors(func(name string, config *service.ConfigView) {
		if strings.HasPrefix(name, "worker_") {
			data, err := config.FormatJSON()
			if err != nil {
				t.Fatal(err)
			}
			found[name] = string(data)
		}
	})
	if len(found) != 1 {
		t.Errorf("workers %v", found)
	}
	for _, says := range []string{`"timeout"`, `"max_request_bytes"`, `"summary":"Gives a message back`} {
		if !strings.Contains(found["worker_echo"], says) {
			t.Errorf("worker_echo does not say %s: %s", says, found["worker_echo"])
		}
	}
}
