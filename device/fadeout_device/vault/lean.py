"""What the vault does without; imported before anything else of it.

A module set to None counts as not there, and whoever would use it if it were
has another way (Python's import system, "The module cache"):

- `_hashlib`: OpenSSL a second time. `cryptography` brings its own; one library with
  keys in it is enough, and 3.5 MB less. hashlib then uses Python's own SHA-2.
- NumPy and pandas: sqlite-utils adapts their types if it finds them. The vault has
  none, and NumPy alone would be 24 MB.
- `_bz2` and `_lzma`: shutil can pack archives with them if they are there.
"""

import sys

for _name in ("_hashlib", "numpy", "pandas", "_bz2", "_lzma"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # None is the import system's "not there"
