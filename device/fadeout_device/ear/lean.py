"""What the ear does without; imported before anything else of it.

- `_hashlib`: OpenSSL, 3.5 MB, for nothing but the policy's SHA-256. A module set to None
  counts as not there (Python's import system, "The module cache"), and hashlib then uses
  Python's own.
- OpenBLAS threads: NumPy's linear algebra would start one per processor, and set memory
  aside for each; none of it is used.
"""

import os
import sys

sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]  # None is the import system's "not there"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
