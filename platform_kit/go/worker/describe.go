package worker

import "encoding/json"

// protocol is the version of what subprocess, command and describe agree on with their callers.
const protocol = 1

// description is what `describe` prints.
type description struct {
	Name            string   `json:"name"`
	Version         string   `json:"version"`
	Build           string   `json:"build"`
	Protocol        int      `json:"protocol"`
	Transports      []string `json:"transports"`
	MaxRequestBytes int      `json:"max_request_bytes"`
}

func (p *program) describe(c config, std streams) int {
	err := json.NewEncoder(std.out).Encode(description{
		Name: p.name, Version: p.version, Build: build, Protocol: protocol,
		Transports: transports, MaxRequestBytes: c.limits.MaxRequestBytes,
	})
	if err != nil {
		return exitFailed
	}
	return exitOK
}
