"""The course an execution takes: what starts, fails, is undone, and to which end it comes. Pure."""
