"""Workers of one's own: build them, ask them who they are, check them, write a new one."""
