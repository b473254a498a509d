"""NATS and JetStream from Python: connections, streams, and reading that survives a server's restart."""
