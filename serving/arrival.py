"""The WSGI environment key for a request's arrival, set by the server, read by the app."""

# time.monotonic() when the request's head was complete, so that the deadline includes the wait for
# a thread.
ARRIVED = "serving.arrived"
