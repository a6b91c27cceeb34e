"""The gunicorn worker and server hooks that gunicorn.conf.py uses."""
