"""Other engines on the same workload: adapters, one script each, and the list of them."""
