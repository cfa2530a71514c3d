"""What all tests share: Hypothesis on a machine that does other things, too."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# An example may take as long as it takes. Based on what is in force: in CI the examples are always the same.
settings.register_profile(
    "fadeout", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fadeout")
