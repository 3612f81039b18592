"""What is asked and written, as generators of statements, for any database; never executes one."""
