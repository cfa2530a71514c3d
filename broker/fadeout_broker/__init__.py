"""The broker side of fadeout: the contract, the reporter, and what integrators need."""
