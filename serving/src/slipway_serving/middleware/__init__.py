"""What is put around the application when it is switched on: authentication, access log, traces, payload log.

`stack.py` puts it there; every other file is one of them, or what several share. What is off costs a request nothing.
"""
