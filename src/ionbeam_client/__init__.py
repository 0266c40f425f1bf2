"""The outsider's door: hand observations to Ionbeam, be asked for them, follow finished windows.

`IonbeamClient` needs a message broker and a folder both sides share; give it a broker and a store of
this process instead and the same calls run without either, as tests do.
"""

from ionbeam_client.arrow_tools import coerce_types
from ionbeam_client.client import ExportHandler, IonbeamClient, TriggerHandler
from ionbeam_client.config import IonbeamClientConfig
from ionbeam_client.once import ingest, ingest_sync

__all__ = [
    "ExportHandler",
    "IonbeamClient",
    "IonbeamClientConfig",
    "TriggerHandler",
    "coerce_types",
    "ingest",
    "ingest_sync",
]
