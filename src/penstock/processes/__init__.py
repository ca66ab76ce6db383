"""One module per operating-system process; the only place where parts are joined."""
