"""Runs a program of the old system, unchanged, on this machine: shim.py PROGRAM

They read no port and no vhost from their URL, and use an argument of tempfile's that came with Python 3.12.
"""

import os
import runpy
import sys
import tempfile

import pika.connection

pika.connection.Parameters.DEFAULT_PORT = int(os.environ["BROKER_PORT"])

if sys.version_info < (3, 12):
    named = tempfile.NamedTemporaryFile

    def NamedTemporaryFile(*args, delete_on_close=True, **kwargs):
        return named(*args, delete=delete_on_close, **kwargs)

    tempfile.NamedTemporaryFile = NamedTemporaryFile

sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
