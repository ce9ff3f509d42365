"""The shape of a JTL file: which delimiter, which columns and where; what is no CSV is refused with a cure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from include.capacity.errors import ConfigError, InvalidData
from include.capacity.histogram import MAX_US
from include.capacity.jtl.rows import ARRIVAL_VARIABLE

NEEDED = ("timeStamp", "elapsed", "label", "success")
OPTIONAL = ("responseCode", "responseMessage", "bytes", ARRIVAL_VARIABLE, "threadName")
WANTED = NEEDED + OPTIONAL
DELIMITERS = (",", ";", "\t", "|")
BOM = "\ufeff"
_CSV_FIELD = 131_072  # what the csv module takes; its limit is one for the whole process

MAX_ELAPSED_MS = MAX_US // 1000  # 12.7 days, where the histogram ends
MAX_BYTES = 1 << 40  # of one sample
MAX_ARRIVAL = 10**15 - 1
YEAR_2000_MS = 946_684_800_000
YEAR_2100_MS = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class JtlOptions:
    """How to read a file. The defaults suit what JMeter writes without further properties.

    Attributes:
        name: of the file, for messages.
        columns: names of the columns of a file without a header, as JMeter's `jmeter.save.saveservice.*` properties
            give them; None: the first record is the header. A header is recognised even where columns are given.
        delimiter: one character, or the two characters `\\t` as JMeter's property spells a tab; None: found in the
            header, a comma where there is none.
        earliest_ms, latest_ms: a start outside of these epoch milliseconds is absurd: a digit was lost or added.
        lateness_s: a second is finished when a row that starts so much later was read. Rows that come later still are
            handed over as an addition to it.
        controllers: what becomes of the rows of transaction controllers. `look`: such a row is left out where it
            repeats rows before it (`seconds.ThreadMemory`), for which the file must tell the threads; `drop`: it always
            is; `keep`: it never is.
        engine: `kernel` (needs numba), `python`, or `auto`: the kernel where numba is installed.
        sizes: keep histograms of the bytes of `ok` transactions, too; for the Python engine.
        examples: of rejected records to keep.
    """

    name: str = "results.jtl"
    columns: tuple[str, ...] | None = None
    delimiter: str | None = None
    earliest_ms: int = YEAR_2000_MS
    latest_ms: int = YEAR_2100_MS
    lateness_s: int = 120
    controllers: str = "look"
    engine: str = "auto"
    sizes: bool = False
    examples: int = 5

    def __post_init__(self) -> None:
        if self.delimiter == "\\t":
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and not _usable(self.delimiter):
            self._refuse("delimiter", f"{self.delimiter!r} cannot separate fields.", "Give one ASCII character.")
        if self.engine not in ("auto", "kernel", "python"):
            self._refuse("engine", f"{self.engine!r} is unknown.", "Give auto, kernel or python.")
        if self.controllers not in ("look", "keep", "drop"):
            self._refuse("controllers", f"{self.controllers!r} is unknown.", "Give look, keep or drop.")
        if self.sizes and self.engine != "python":
            self._refuse("sizes", "are kept by the Python engine only.", "Give engine python.")
        if not 0 <= self.earliest_ms < self.latest_ms <= YEAR_2100_MS:
            self._refuse("earliest_ms", "must lie below latest_ms, both from 1970 to 2100.", "Give epoch milliseconds.")
        if self.lateness_s < 0 or self.examples < 0:
            self._refuse("lateness_s", "and examples must not be negative.", "Give 0 or more.")
        if self.columns is not None:
            _check_columns(self.columns, self.name, ConfigError)

    def _refuse(self, key: str, problem: str, cure: str) -> None:
        raise ConfigError(self.name, key, problem, cure)


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns by position. `wanted` holds the position of each name of `WANTED`, -1 where the file lacks it."""

    columns: tuple[str, ...]
    delimiter: str

    @property
    def wanted(self) -> tuple[int, ...]:
        return tuple(self.columns.index(name) if name in self.columns else -1 for name in WANTED)

    @property
    def has_arrivals(self) -> bool:
        return ARRIVAL_VARIABLE in self.columns


def _usable(delimiter: str) -> bool:
    return len(delimiter) == 1 and delimiter.isascii() and delimiter not in '"\r\n' and not delimiter.isalnum()


def split(record: str, delimiter: str) -> list[str]:
    """The fields of a record. Raises csv.Error where its quotes do not pair up."""
    if '"' not in record:
        return record.split(delimiter)
    if len(record) > _CSV_FIELD:
        return _split_long(record, delimiter)
    return next(csv.reader([record], delimiter=delimiter, strict=True), [""])


def _split_long(record: str, delimiter: str) -> list[str]:
    """The same for fields that csv.reader refuses for their length: a failure message may hold a whole answer."""
    fields, at, more = list[str](), 0, True
    while more:
        if record.startswith('"', at):
            end = at + 1
            while True:
                end = record.find('"', end)
                if end < 0:
                    raise csv.Error("unexpected end of data")
                if not record.startswith('"', end + 1):
                    break
                end += 2
            fields.append(record[at + 1 : end].replace('""', '"'))
            end += 1
            if end < len(record) and record[end] != delimiter:
                raise csv.Error(f"{delimiter!r} expected after '\"'")
        else:
            end = record.find(delimiter, at)
            end = len(record) if end < 0 else end
            fields.append(record[at:end])
            if "\n" in fields[-1] or "\r" in fields[-1]:
                raise csv.Error("new-line character seen in unquoted field")
        at, more = end + 1, end < len(record)
    return fields


def refuse_other_formats(start: bytes, name: str) -> None:
    """Raises InvalidData where the first bytes of a file show that it is XML or UTF-16."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidData(f"{name} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {name}.")
    text = start.removeprefix(BOM.encode()).lstrip()
    if text.startswith((b"<?xml", b"<testResults")):
        raise InvalidData(
            f"{name} is XML. Let JMeter write CSV: -Jjmeter.save.saveservice.output_format=csv; convert an old file by "
            f"loading it into a listener of JMeter's GUI that writes CSV."
        )


def header(record: str, delimiter: str | None) -> Layout | None:
    """The layout that a record announces if it is a header: it names every needed column. None for any other record."""
    record = record.removeprefix(BOM)
    if "timeStamp" not in record:
        return None
    for candidate in (delimiter,) if delimiter else DELIMITERS:
        try:
            names = tuple(split(record, candidate))
        except csv.Error:  # quotes that stand wrong for this delimiter
            continue
        if all(names.count(name) == 1 for name in NEEDED) and all(names.count(name) <= 1 for name in OPTIONAL):
            return Layout(names, candidate)
    return None


def first_layout(record: str, options: JtlOptions) -> tuple[Layout, bool]:
    """The layout of a file by its first record, and whether that record is a header.

    Raises InvalidData when there is neither a header nor `options.columns`.
    """
    found = header(record, options.delimiter)
    if found is not None:
        return found, True
    if options.columns is not None:
        return Layout(options.columns, options.delimiter or ","), False
    text = record.removeprefix(BOM)
    if "timeStamp" in text:
        delimiter = options.delimiter or max(DELIMITERS, key=text.count)
        _check_columns(text.split(delimiter), options.name, InvalidData)
    raise InvalidData(
        f"{options.name} does not begin with a header of JMeter: {record[:120]!r}. Let JMeter write one "
        f"(-Jjmeter.save.saveservice.print_field_names=true), or name the columns in their order."
    )


def _check_columns(names: Sequence[str], name: str, error: type[ConfigError] | type[InvalidData]) -> None:
    missing = [each for each in NEEDED if each not in names]
    double = sorted({each for each in WANTED if names.count(each) > 1})
    if not missing and not double:
        return
    problem = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(double)} twice"
    cure = "Let JMeter write each once (jmeter.save.saveservice.* properties)."
    if error is ConfigError:
        raise ConfigError(name, "columns", f"{problem}.", cure)
    raise InvalidData(f"The header of {name} {problem}. {cure}")
