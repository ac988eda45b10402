"""flowbridge: one law for the executions of many workflow engines."""
