"""Performs one attempt of one step, past its guards; never decides what its outcome means."""
