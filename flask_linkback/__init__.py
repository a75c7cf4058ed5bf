"""Flask-Linkback: a Flask site as part of the web around it."""
