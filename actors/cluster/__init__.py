"""The processes that share a store: who lives, who is dead, and a bell; has never heard of executions."""
