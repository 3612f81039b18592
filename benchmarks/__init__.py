"""How fast perdure is, measured beside the least that any engine could do: `python -m benchmarks`."""
