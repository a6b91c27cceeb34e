"""Fuzzing from the OpenAPI document."""
