"""One observer, three interpreters: call sites only observe; logs, metrics and traces interpret."""
