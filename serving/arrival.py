"""What the server tells the application of a request, beyond WSGI."""

# Key of the WSGI environment: when the request's head had arrived, as time.monotonic() has it. The
# time that a request waits for a thread is part of its deadline.
ARRIVED = "serving.arrived"
