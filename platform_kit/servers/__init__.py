"""The platform's processes: start, ready, watch, stop; nothing of it left behind."""
