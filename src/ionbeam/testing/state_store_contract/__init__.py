"""What every `StateStore` must do, as tests to inherit; one module per ledger.

    class TestMyStore(StateStoreContract):
        @pytest.fixture
        async def store(self, clock): ...

        @pytest.fixture
        async def other(self, store, clock): ...

``store`` is empty; ``other`` is a second way to the same state, as another process has it; both tell
the time from ``clock``, a `VirtualClock` the suite provides. The tests are coroutines: run
pytest-asyncio in auto mode. Hypothesis is needed besides pytest.
"""

import pytest

from ionbeam.testing.clock import VirtualClock
from ionbeam.testing.state_store_contract.builds import BuildQueueContract
from ionbeam.testing.state_store_contract.examples import NOW
from ionbeam.testing.state_store_contract.ingestions import IngestionLedgerContract
from ionbeam.testing.state_store_contract.log import EventLogContract
from ionbeam.testing.state_store_contract.registry import RegistryContract
from ionbeam.testing.state_store_contract.retirement import RetirementContract
from ionbeam.testing.state_store_contract.windows import WindowLedgerContract

__all__ = ["StateStoreContract"]


class StateStoreContract(
    EventLogContract,
    IngestionLedgerContract,
    WindowLedgerContract,
    BuildQueueContract,
    RetirementContract,
    RegistryContract,
):
    """Inherit, and give the fixtures ``store`` and ``other``."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        """The clock the stores are to tell the time from."""
        return VirtualClock(NOW)
