"""WHAT IS REMEMBERED: the values a state store holds.

Plain frozen values; which of them change together, and when, is said by the ledgers in `ports`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ionbeam.observations.dataset import IngestionMetadata
from ionbeam.observations.naming import object_name
from ionbeam.observations.timespan import TimeSpan, format_duration, format_stamp

GAP_TOLERANCE = timedelta(seconds=1)
"""A hole between two claims longer than this is a gap."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the event log."""

    sequence: int
    """Acceptance order; later entries win where observations conflict."""
    kind: str
    """The message's class name."""
    id: UUID
    subject: str
    """Dataset or source the message is about."""
    body: bytes
    at: datetime
    is_open: bool
    """Nobody is done with it yet."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the rows of one ingestion; ``received = stored + duplicate + rejected``."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    """Rows that add nothing: folded into another row of the payload, or already known."""
    rejected: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.received + other.received,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
        )

    @property
    def closes(self) -> bool:
        """Whether every received row is accounted for."""
        return self.received == self.stored + self.duplicate + self.rejected


@dataclass(frozen=True, slots=True)
class Chunk:
    """Canonical observations of one hour from one ingestion, written once."""

    dataset: str
    hour: datetime
    ingestion_id: UUID
    part: int
    sequence: int
    rows: int
    first: datetime
    """Earliest observation, rounded down to the microsecond."""
    last: datetime
    """Latest observation, rounded down to the microsecond."""
    location: str


class IngestionStatus(StrEnum):
    """How far an ingestion has come."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class IngestionRecord:
    """One accepted ingest command and what became of it."""

    id: UUID
    sequence: int
    metadata: IngestionMetadata
    span: TimeSpan
    payload_location: str
    status: IngestionStatus
    accepted_at: datetime
    tally: Tally = Tally()
    warnings: tuple[str, ...] = ()
    reason: str = ""
    """Why it was refused."""


@dataclass(frozen=True, slots=True)
class IngestionClaim:
    """The exclusive right to work on one ingestion."""

    record: IngestionRecord
    token: int


@dataclass(frozen=True, slots=True)
class IngestionOutcome:
    """What an ingestion left behind."""

    tally: Tally
    chunks: tuple[Chunk, ...] = ()
    rejects: tuple["QuarantineEntry", ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BookLine:
    """Rows received for one dataset in one hour of reception."""

    dataset: str
    hour: datetime
    tally: Tally
    pending: int
    """Rows of ingestions that are accepted and not yet settled."""

    @property
    def closes(self) -> bool:
        """``received = stored + duplicate + rejected + pending``."""
        t = self.tally
        return t.received == t.stored + t.duplicate + t.rejected + self.pending


class QuarantineStatus(StrEnum):
    """Whether what was refused is still waiting for somebody."""

    OPEN = "open"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """Refused rows, or a whole refused payload, kept with the reason."""

    id: UUID
    dataset: str
    ingestion_id: UUID
    location: str
    """Object key of the refused rows; of the whole payload when ``rows`` is 0."""
    rows: int
    reasons: dict[str, int]
    """How many rows were refused for each reason."""
    at: datetime
    status: QuarantineStatus = QuarantineStatus.OPEN


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """One aligned window of one dataset."""

    dataset: str
    start: datetime
    length: timedelta

    @property
    def span(self) -> TimeSpan:
        """The window's event time."""
        return TimeSpan(self.start, self.start + self.length)

    @property
    def id(self) -> str:
        """``{start}_{ISO span}``, unique within the dataset."""
        return f"{self.start.isoformat()}_{format_duration(self.length)}"

    @property
    def file_stem(self) -> str:
        """``{dataset}_{YYYYmmddTHHMMSS}_{ISO span}``: the published file name without its suffix."""
        return f"{object_name(self.dataset)}_{format_stamp(self.start)}_{format_duration(self.length)}"


class WindowStatus(StrEnum):
    """What a window is waiting for."""

    WAITING = "waiting"
    """Not ready yet; the reason says for what."""
    QUEUED = "queued"
    """To be built once ``due_at`` has passed."""
    BUILT = "built"
    """The current revision holds everything known."""
    PARKED = "parked"
    """Building failed too often; ``window rebuild`` takes it up again."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable state of a window."""

    window: WindowKey
    number: int
    rows: int
    content_hash: str
    """blake2b over the rows' canonical bytes."""
    inputs_hash: str
    """sha256 over ``inputs``."""
    inputs: tuple[str, ...]
    """Ids of the ingestions whose observations it holds, sorted."""
    sequence: int
    """The highest acceptance sequence among the inputs."""
    location: str
    """Object key of the immutable file."""
    supersedes: str | None
    """Content hash of the revision before."""
    built_at: datetime


@dataclass(frozen=True, slots=True)
class WindowState:
    """What is known of one window."""

    key: WindowKey
    status: WindowStatus
    reason: str
    version: int
    """Grows with every ingestion that adds rows to the window."""
    built_version: int
    due_at: datetime | None
    attempts: int
    revision: Revision | None


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What decides whether a window is ready."""

    key: WindowKey
    version: int
    built_version: int
    covered: bool
    """Claims cover the whole window."""
    has_gap: bool
    """Claims lie before and after a hole in the window."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with a window."""

    key: WindowKey
    status: WindowStatus
    reason: str = ""
    due_at: datetime | None = None
    forced: bool = False
    """Also when nothing is new, whatever failed before."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """The exclusive right to build one window, as of one version of its inputs."""

    key: WindowKey
    version: int
    token: int
    """Fencing token: a newer claim makes this order worthless."""
    attempt: int
    chunks: tuple[Chunk, ...]
    """The window's chunks in acceptance order."""
    maps: tuple[IngestionMetadata, ...]
    """The distinct maps behind the window's observations."""
    revision: Revision | None
    """The current revision."""
    bases: tuple[Revision, ...]
    """Revisions, also of windows of another length, some of whose inputs are deleted: their files
    stand in as inputs, in acceptance order."""


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A registered dataset."""

    metadata: IngestionMetadata
    findings: tuple[str, ...] = ()
    """Remarks from registration, such as names the CF table does not know."""
    registered_at: datetime | None = None
