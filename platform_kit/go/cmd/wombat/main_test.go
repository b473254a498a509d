package main

import (
	"os"
	"strings"
	"testing"
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
