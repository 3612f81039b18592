"""Brings executions what is for them, wherever they are: a message, an owner, a free slot; never owns one."""
