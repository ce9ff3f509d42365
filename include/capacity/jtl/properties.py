"""The columns of a JTL file by the JMeter properties that it was written under: for files without a header.

The order and the defaults are those of JMeter 5.6.3's CSVSaveService and SampleSaveConfiguration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.capacity.errors import ConfigError
from include.capacity.jtl.layout import JtlOptions

PREFIX = "jmeter.save.saveservice."

# Column, the property that saves it, whether it is saved by default.
_COLUMNS = (
    ("timeStamp", "timestamp_format", True),
    ("elapsed", "time", True),
    ("label", "label", True),
    ("responseCode", "response_code", True),
    ("responseMessage", "response_message", True),
    ("threadName", "thread_name", True),
    ("dataType", "data_type", True),
    ("success", "successful", True),
    ("failureMessage", "assertion_results_failure_message", True),
    ("bytes", "bytes", True),
    ("sentBytes", "sent_bytes", True),
    ("grpThreads", "thread_counts", True),
    ("allThreads", "thread_counts", True),
    ("URL", "url", True),
    ("Filename", "filename", False),
    ("Latency", "latency", True),
    ("Encoding", "encoding", False),
    ("SampleCount", "sample_count", False),
    ("ErrorCount", "sample_count", False),
    ("Hostname", "hostname", False),
    ("IdleTime", "idle_time", True),
    ("Connect", "connect_time", True),
)


def options_of(properties: Mapping[str, str], **others: Any) -> JtlOptions:
    """How to read what JMeter writes under these properties (`jmeter.save.saveservice.*` and `sample_variables`; what
    is not given has JMeter's default). `others` are further fields of JtlOptions. A header is found in any case.

    Raises ConfigError that names the property: XML, time stamps other than milliseconds, or a column that is needed and
    not saved.
    """
    name = others.get("name", "JMeter's properties")

    def value(key: str, default: str) -> str:
        return properties.get(PREFIX + key, default).strip()

    if value("output_format", "csv").lower() != "csv":
        raise ConfigError(name, f"{PREFIX}output_format", "is not csv.", "Let JMeter write CSV: set it to csv.")
    stamps = value("timestamp_format", "ms")
    if stamps != "ms":
        cure = "Set it to ms: a text loses the time zone, and often the milliseconds."
        raise ConfigError(name, f"{PREFIX}timestamp_format", f"is {stamps!r}.", cure)
    columns = [
        column for column, key, saved in _COLUMNS if key == "timestamp_format" or _is_true(value(key, str(saved)))
    ]
    variables = (each.strip() for each in properties.get("sample_variables", "").split(","))
    columns += [variable for variable in variables if variable]
    return JtlOptions(columns=tuple(columns), delimiter=value("default_delimiter", ",") or ",", **others)


def _is_true(text: str) -> bool:
    return text.lower() == "true"
