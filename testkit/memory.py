"""The path at which tests/security/limited.py answers with its worker's number and peak memory."""

PEAK = "/peak-of-the-test"
