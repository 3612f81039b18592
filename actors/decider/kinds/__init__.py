"""Steps that do more than perform one body once: gates, waits, people, loops, children. Pure."""
