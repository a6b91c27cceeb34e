"""How gunicorn serves the app: what gunicorn.conf.py is made of."""
