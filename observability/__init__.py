"""One observer, three subscribers: call sites only observe; logs, metrics and traces interpret."""
