"""Nothing lost, nothing stale, nothing erased that anybody still has: through any outage (rig_outages.py).

The mutants at the end are what shows that the machine can fail.
"""

from __future__ import annotations

import pytest

from rig_outage_plants import VAULT, search_vault
from rig_outages import Outages, search


def test_nothing_is_lost_and_nothing_that_is_erased_is_kept() -> None:
    search(Outages, 40, is_always_the_same=True)


@pytest.mark.parametrize("plant", VAULT)
def test_the_machine_finds_what_is_broken(plant: str) -> None:
    with pytest.raises(AssertionError, match=VAULT[plant].told):
        search_vault(plant)
