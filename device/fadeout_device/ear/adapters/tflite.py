"""Whether a file is a TensorFlow Lite model, asked of the library that would run it.

The wake-word libraries go on with a null pointer where it is none, and print the reason over
whatever else stands on standard error; whoever asks here says it once, with the next step.

Source: tensorflow/lite/c/c_api.h, `TfLiteModelCreateFromFileWithErrorReporter`.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REPORTER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


def is_model(lib: ctypes.CDLL, path: Path) -> bool:
    """Say whether the library can read a file as a model, without a word on standard error."""
    # Functions of its own: the libraries share `lib`, and set what theirs take.
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, _REPORTER, ctypes.c_void_p)(
        ("TfLiteModelCreateFromFileWithErrorReporter", lib)
    )
    delete = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(("TfLiteModelDelete", lib))
    # Kept in a name: the library calls it until the model is gone.
    silent = _REPORTER(lambda _data, _format, _arguments: None)
    model = create(str(path).encode(), silent, None)
    if not model:
        return False
    delete(model)
    return True
