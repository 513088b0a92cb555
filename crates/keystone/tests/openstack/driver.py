"""Runs OpenStack's command line again and again in one process: starting it takes seconds, a command does not.

A line of standard input is a JSON list of arguments; a line of standard output is what came of it.
"""

import contextlib
import io
import json
import logging
import sys

from openstackclient import shell

answers = sys.stdout
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    logging.getLogger("").handlers.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.main(json.loads(line))
        except SystemExit as end:
            code = end.code
    print(json.dumps({"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}), file=answers, flush=True)
