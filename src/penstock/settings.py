"""Settings: read from the environment once, at the start of a process, and passed down from there."""

import base64
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.domain.confinement import FILES, MEMORY, RANGES, TASKS, machine_share_mb
from penstock.domain.devices import VISIBLE, usable
from penstock.domain.environment import EnvManager
from penstock.domain.limits import Limits, Machine, Windows
from penstock.domain.spool_mode import SpoolMode
from penstock.faults import VARIABLE, BadFault, parse_faults

_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_ADDRESS = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
PARTIAL_SUFFIX = ".partial"
"""Ends the names of folders in `artifacts/` whose fetch has not ended."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything a stack keeps."""

    path: Path

    @property
    def token_file(self) -> Path:
        """The first token, readable by its owner only."""
        return self.path / "token"

    @property
    def secrets_key_file(self) -> Path:
        """The keys that encrypt secrets, the newest first, readable by its owner only."""
        return self.path / "secrets.key"

    @property
    def database(self) -> Path:
        """State, written by the control plane alone."""
        return self.path / "penstock.db"

    @property
    def metrics_database(self) -> Path:
        """The past of metrics, written by the control plane alone."""
        return self.path / "metrics.db"

    @property
    def mlflow(self) -> Path:
        """Backend and artifacts of the embedded MLflow server."""
        return self.path / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """The embedded MLflow server's state, written by it alone."""
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """What was logged with runs and models, as the embedded MLflow server keeps it."""
        return self.mlflow / "artifacts"

    @property
    def artifacts(self) -> Path:
        """Fetched models."""
        return self.path / "artifacts"

    @property
    def environments(self) -> Path:
        """Python environments that were built for models."""
        return self.path / "envs"

    @property
    def spool(self) -> Path:
        """What is on its way to tables, a folder for each process that writes there: gateways, the control plane."""
        return self.path / "spool"

    @property
    def control_plane_spool(self) -> Path:
        """The control plane's part of it: feedback and other rows that arise there."""
        return self.spool / "control-plane"

    @property
    def told_entities(self) -> Path:
        """JSON: the served entities that the table of them has been told."""
        return self.table_writer / "served-entities.json"

    @property
    def feedback_checked(self) -> Path:
        """JSON: until when the feedback in each table has been held against predictions."""
        return self.path / "run" / "feedback-checked.json"

    @property
    def jobs(self) -> Path:
        """What runs of jobs leave: logs, results and the folders in which they run."""
        return self.path / "jobs"

    @property
    def batch(self) -> Path:
        """What is known of batch runs, a folder for each."""
        return self.path / "batch"

    @property
    def warehouse(self) -> Path:
        """Delta tables: `<catalog>/<schema>/<table>`."""
        return self.path / "warehouse"

    @property
    def table_writer(self) -> Path:
        """What could not go into tables: rows that wait, and what no table takes."""
        return self.path / "table-writer"

    @property
    def table_states(self) -> Path:
        """How the tables stand, as the table writer tells it."""
        return self.table_writer / "tables.json"

    @property
    def run(self) -> Path:
        """Sockets, lock, pid file and the routing table."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """Logs of replicas by endpoint and served entity; those of our own processes under `.system`."""
        return self.path / "logs"

    @property
    def system_logs(self) -> Path:
        """Logs of our own processes. No endpoint's name begins with a dot."""
        return self.logs / ".system"

    @property
    def lock_file(self) -> Path:
        """Held by the one supervisor of this home."""
        return self.run / "lock"

    @property
    def status_file(self) -> Path:
        """JSON about the running stack: its URL, the supervisor's pid."""
        return self.run / "penstock.json"

    @property
    def table_file(self) -> Path:
        """The newest routing table."""
        return self.run / "routing-table.json"


def workspace_id(home: Path) -> int:
    """The number by which clients know this installation."""
    return zlib.crc32(str(home).encode())


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of a certificate with its chain and of its key, PEM; text, because gateways are told them."""

    certificate: str
    key: str
    names: tuple[str, ...] = ()
    """Hosts that the certificate is for, without wildcards."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set for a stack."""

    home: Home
    """`PENSTOCK_HOME`: the home folder; `./.penstock` by default."""
    host: str = "127.0.0.1"
    """`PENSTOCK_HOST`: address to listen on."""
    port: int = 8080
    """`PENSTOCK_PORT`: port to listen on; 0 takes a free one."""
    gateways: int = 1
    """Number of gateway processes (`--gateways`)."""
    tracking_uri: str | None = None
    """An existing MLflow tracking server to use in place of the embedded one (`--tracking-uri`)."""
    tracking_authorization: str | None = None
    """What that server wants in `Authorization`: from `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
    `MLFLOW_TRACKING_PASSWORD`, the variables of MLflow's own client."""
    tls: TlsFiles | None = None
    """Certificate and key (`--tls-cert`, `--tls-key`); without them clients are served plain HTTP."""
    cors_origins: tuple[str, ...] = ()
    """`PENSTOCK_CORS_ORIGINS`: origins whose pages may call from a browser, or `*`; none by default."""
    env_manager: EnvManager = EnvManager.AUTO
    """`PENSTOCK_ENV_MANAGER`: who provides the Python environments of models."""
    wheelhouse: Path | None = None
    """`PENSTOCK_WHEELHOUSE`: a folder of wheels that is the only place from which environments are built."""
    hold_timeout_s: float = 60.0
    """`PENSTOCK_HOLD_TIMEOUT_S`: how long a request waits for a first replica."""
    idle_timeout_s: float = 300.0
    """`PENSTOCK_IDLE_TIMEOUT_S`: how long a client's connection is kept on which nothing is asked."""
    fault: str = ""
    """`PENSTOCK_FAULT`: where processes are to crash, for tests; nowhere by default."""
    spool_max_mb: int = 1024
    """`PENSTOCK_SPOOL_MAX_MB`: what the spools of all processes may take on disk together."""
    spool_sync_ms: int = 1000
    """`PENSTOCK_SPOOL_SYNC_MS`: how long after a record is written the disk itself is to have it; 0 leaves it open."""
    table_flush_s: float = 5.0
    """`PENSTOCK_TABLE_FLUSH_S`: within so many seconds what is logged can be read in its table."""
    table_retention_days: int = 0
    """`PENSTOCK_TABLE_RETENTION_DAYS`: so many days rows of inference tables are kept; 0 for ever."""
    log_max_body_kb: int = 1024
    """`PENSTOCK_LOG_MAX_BODY_KB`: a body over this is not logged, only that it was there."""
    alias_poll_s: float = 10.0
    """`PENSTOCK_ALIAS_POLL_S`: how often the registry is asked where followed aliases lead."""
    otlp_endpoint: str = ""
    """`PENSTOCK_OTLP_ENDPOINT`: a collector that takes traces by OTLP over HTTP; by default none are made."""
    trace_fraction: float = 1.0
    """`PENSTOCK_TRACE_FRACTION`: the share of predictions that are traced, of those in no trace of their caller's."""
    job_tasks: int = 4
    """`PENSTOCK_JOB_TASKS`: how many tasks of jobs run at a time, of all runs together."""
    job_memory_mb: int | None = None
    """`PENSTOCK_JOB_MEMORY_MB`: memory that one task may use, with all that it starts; by default what the machine can
    spare."""
    job_process_limit: int = 4096
    """`PENSTOCK_JOB_PROCESS_LIMIT`: processes and threads of one task."""
    workspace: Path | None = None
    """`PENSTOCK_WORKSPACE`: the folder in which paths of notebooks and Python files of jobs are looked for; by default
    they are paths of this machine."""
    limits: Limits = field(default_factory=Limits)
    """`PENSTOCK_REQUEST_TIMEOUT_S`, `PENSTOCK_QUEUE_SIZE`, `PENSTOCK_DEPLOY_TIMEOUT_S`, `PENSTOCK_MEMORY_LIMIT_MB`,
    `PENSTOCK_PROCESS_LIMIT`, `PENSTOCK_FILE_LIMIT`, `PENSTOCK_REPLICA_MEMORY_MB`, `PENSTOCK_SCALE_TO_ZERO_AFTER_S`,
    `PENSTOCK_AUTOSCALE_STABLE_S`, `PENSTOCK_AUTOSCALE_PANIC_S` and `PENSTOCK_SPOOL_MODE`, with what the machine has."""
    devices: tuple[str, ...] = ()
    """`CUDA_VISIBLE_DEVICES`: the GPUs that replicas may be given; all that are found by default."""


class BadSetting(Exception):
    """A variable or option holds something that it may not hold."""


def read_settings(environment: Mapping[str, str], machine: Machine) -> Settings:
    """Settings from the environment, for this machine.

    Raises:
        BadSetting: naming the variable, what it holds and what was wanted.
    """
    defaults = Limits()
    devices = usable(machine.gpus, environment.get(VISIBLE))
    stable_s = _whole(environment, "PENSTOCK_AUTOSCALE_STABLE_S", defaults.windows.stable_s, 2, 3600)
    return Settings(
        home=Home(Path(environment.get("PENSTOCK_HOME") or ".penstock").expanduser().resolve()),
        host=environment.get("PENSTOCK_HOST") or "127.0.0.1",
        port=_whole(environment, "PENSTOCK_PORT", 8080, 0, 65535),
        cors_origins=_origins(environment, "PENSTOCK_CORS_ORIGINS"),
        env_manager=EnvManager(_choice(environment, "PENSTOCK_ENV_MANAGER", tuple(EnvManager), EnvManager.AUTO)),
        wheelhouse=_folder(environment, "PENSTOCK_WHEELHOUSE"),
        hold_timeout_s=_number(environment, "PENSTOCK_HOLD_TIMEOUT_S", 60.0, 0, 3600),
        idle_timeout_s=_number(environment, "PENSTOCK_IDLE_TIMEOUT_S", 300.0, 1, 86400),
        fault=_fault(environment),
        spool_max_mb=_whole(environment, "PENSTOCK_SPOOL_MAX_MB", 1024, 1, 1 << 24),
        spool_sync_ms=_whole(environment, "PENSTOCK_SPOOL_SYNC_MS", 1000, 0, 3_600_000),
        table_flush_s=_number(environment, "PENSTOCK_TABLE_FLUSH_S", 5.0, 0.1, 3600),
        table_retention_days=_whole(environment, "PENSTOCK_TABLE_RETENTION_DAYS", 0, 0, 36_500),
        log_max_body_kb=_whole(environment, "PENSTOCK_LOG_MAX_BODY_KB", 1024, 0, 16 << 10),
        alias_poll_s=_number(environment, "PENSTOCK_ALIAS_POLL_S", 10.0, 0.1, 86400),
        otlp_endpoint=_address(environment, "PENSTOCK_OTLP_ENDPOINT"),
        trace_fraction=_number(environment, "PENSTOCK_TRACE_FRACTION", 1.0, 0, 1),
        job_tasks=_whole(environment, "PENSTOCK_JOB_TASKS", 4, 1, 1000),
        job_memory_mb=_optional_whole(environment, "PENSTOCK_JOB_MEMORY_MB", 64, 16 << 20)
        or machine_share_mb(machine.memory_mb),
        job_process_limit=_whole(environment, "PENSTOCK_JOB_PROCESS_LIMIT", 4096, 16, 1_000_000),
        workspace=_folder(environment, "PENSTOCK_WORKSPACE"),
        limits=Limits(
            cores=machine.cores,
            deploy_timeout_s=_number(environment, "PENSTOCK_DEPLOY_TIMEOUT_S", defaults.deploy_timeout_s, 1, 86400),
            request_timeout_s=_number(environment, "PENSTOCK_REQUEST_TIMEOUT_S", defaults.request_timeout_s, 0.1, 3600),
            queue_size=_whole(environment, "PENSTOCK_QUEUE_SIZE", defaults.queue_size, 0, 1_000_000),
            memory_mb=machine.memory_mb,
            memory_limit_mb=_optional_whole(environment, MEMORY, *RANGES[MEMORY]),
            process_limit=_whole(environment, TASKS, defaults.process_limit, *RANGES[TASKS]),
            file_limit=_whole(environment, FILES, defaults.file_limit, *RANGES[FILES]),
            gpus=len(devices),
            replica_memory_mb=_optional_whole(environment, "PENSTOCK_REPLICA_MEMORY_MB", 64, 1 << 30)
            or machine_share_mb(machine.memory_mb),
            spool_mode=SpoolMode(_choice(environment, "PENSTOCK_SPOOL_MODE", tuple(SpoolMode), SpoolMode.AVAILABLE)),
            windows=Windows(
                stable_s=stable_s,
                panic_s=_whole(
                    environment,
                    "PENSTOCK_AUTOSCALE_PANIC_S",
                    min(defaults.windows.panic_s, stable_s),
                    1,
                    stable_s,
                ),
                zero_after_s=_number(
                    environment, "PENSTOCK_SCALE_TO_ZERO_AFTER_S", defaults.windows.zero_after_s, 1, 2_592_000
                ),
            ),
        ),
        devices=devices,
    )


def tracking_authorization(environment: Mapping[str, str]) -> str | None:
    """The `Authorization` header that MLflow's own client would send to a tracking server."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {token}"
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        password = environment.get("MLFLOW_TRACKING_PASSWORD", "")
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _origins(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in environment.get(name, "").split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin) and origins != ("*",):
            raise BadSetting(
                f"{name}: got '{origin}'; wanted origins as browsers send them, such as 'https://app.example.com' or "
                "'http://localhost:3000', in lower case, without a path, separated by commas; or '*' alone for any."
            )
    return origins


def _address(environment: Mapping[str, str], name: str) -> str:
    text = environment.get(name, "").rstrip("/")
    if text and not _ADDRESS.fullmatch(text):
        raise BadSetting(f"{name}: got '{text}'; wanted an address such as 'http://127.0.0.1:4318'.")
    return text


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = environment.get(name) or default
    if value not in choices:
        raise BadSetting(f"{name}: got '{value}'; wanted {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    return Path(value).expanduser().resolve() if value else None


def _fault(environment: Mapping[str, str]) -> str:
    text = environment.get(VARIABLE, "")
    try:
        parse_faults(text)
    except BadFault as exc:
        raise BadSetting(f"{VARIABLE}: {exc}.") from None
    return text


def _whole(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = _number(environment, name, default, low, high)
    if value != int(value):
        raise BadSetting(f"{name}: got '{environment[name]}'; wanted a whole number from {low} to {high}.")
    return int(value)


def _optional_whole(environment: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    return _whole(environment, name, low, low, high) if environment.get(name) else None


def _number(environment: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise BadSetting(f"{name}: got '{text}'; wanted a number from {low:.10g} to {high:.10g}.")
    return value
