"""Jobs: leaf actions that really run, and are found again after a crash."""
