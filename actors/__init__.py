"""The machine: executes plans, durably; has never heard of YAML, templates, agents or HTTP."""
