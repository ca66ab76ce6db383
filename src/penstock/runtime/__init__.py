"""Child processes: started, watched, restarted, logged and stopped."""
