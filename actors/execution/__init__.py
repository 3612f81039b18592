"""One actor for each hot execution, and their supervisor: commit turns, carry orders out; never decide."""
