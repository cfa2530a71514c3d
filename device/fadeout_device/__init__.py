"""The device side of fadeout: the ear, the vault, and the command that talks to them."""

__version__ = "0.1.0"
