"""State and a message in, a turn out: all that is decided of an execution; never does any of it. Pure."""
