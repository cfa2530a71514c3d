"""Prints what the Node-RED beside it holds in its flow's context."""

import sys
import urllib.error
import urllib.request
from pathlib import Path

try:
    with urllib.request.urlopen(Path("context.url").read_text(encoding="utf-8"), timeout=30) as answer:  # noqa: S310 - http, on loopback
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as err:
    if err.code != 404:  # nothing is held yet
        raise
