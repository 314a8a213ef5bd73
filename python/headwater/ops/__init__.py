"""Running the system: supervisor, logs, and the commands that use it from outside."""
