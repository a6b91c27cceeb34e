"""Reads from replicas: which replica may serve a read, and what happens when none can."""
