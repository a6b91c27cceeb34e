"""Events become logs, metrics and traces: one observer passes them to a subscriber for each."""
