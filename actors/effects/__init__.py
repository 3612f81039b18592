"""What one turn of an execution comes to, as data: rows to write, orders to carry out; does nothing. Pure."""
