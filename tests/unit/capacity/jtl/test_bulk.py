"""Whole files: what they come to, what is refused, and that every way to read them gives the same."""

from __future__ import annotations

import gzip
import io
from collections import Counter

import pytest

from include.capacity.errors import ConfigError, InvalidData
from include.capacity.jtl import reader as reader_module
from include.capacity.jtl.bulk import aggregate_jtl, iterate_seconds
from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.jtl.follow import JtlFollower
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.seconds import REMEMBERED_THREADS

try:
    import numba  # noqa: F401

    ENGINES = ["python", "kernel"]
except ImportError:
    ENGINES = ["python"]

HEADER = "timeStamp,elapsed,label,responseCode,responseMessage,success,bytes,headroom_arrival\n"
T = 1_766_000_000_000


def row(start: int = T, elapsed: object = 12, label: str = "home", *, code: str = "200", arrival: str = "") -> str:
    success = "true" if code == "200" else "false"
    return f"{start},{elapsed},{label},{code},OK,{success},100,{arrival}\n"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(data: str | bytes, engine: str = "python", **options: object) -> JtlAggregate:
    raw = data.encode() if isinstance(data, str) else data
    return aggregate_jtl(io.BytesIO(raw), options=JtlOptions(engine=engine, **options))  # type: ignore[arg-type]


def table(aggregate: JtlAggregate) -> SecondTable:
    assert aggregate.table is not None
    return aggregate.table


def dirty_file() -> bytes:
    """All that goes wrong in real files, in one."""
    lines = [HEADER]
    for n in range(3000):
        code = ("200", "200", "503", "Non HTTP response code: java.net.ConnectException")[n % 4]
        start = T + n * 7 - (90_000 if n % 500 == 3 else 0)
        lines.append(row(start, n % 900, f"label {n % 7}", code=code, arrival=f"{n // 3}:{n % 411}" if n % 11 else ""))
        if n % 100 == 5:
            lines += ["1,2\n", row(T, "x", arrival="5:1"), row(T, -4, arrival="5:1"), row(T, 4, arrival="7"), "\n"]
            lines += [row(T, 5, '"a, ""b"" c"', arrival=f"{9000 + n}:3"), row(T, 5, '"two\nlines"', arrival="1:1")]
            lines += [row(T, 6, '"plain, quoted"', arrival=f"{9500 + n}:3").replace("\n", "\r\n")]
        if n == 1500:
            lines.append(row(T, 5, 'stray " quote', arrival="77:1"))
    data = "".join(lines).encode() + row(T, 3, "caf", arrival="8:8").encode().replace(b"caf", b"caf\xe9")
    return data + row().encode()[:-9]


def test_both_engines_and_the_follower_agree_on_a_dirty_file(engine: str) -> None:
    data = dirty_file()
    follower = JtlFollower("results.jtl")
    follower.feed(data)
    follower.finish()
    mine, seconds, rejects = read(data, engine), follower.drain(), follower.drain_rejects()
    result = table(mine).seconds()
    assert result.rows == seconds.rows
    assert result.lag == seconds.lag
    assert result.completed == seconds.completed
    assert mine.foreign == seconds.foreign
    assert mine.rejections.count == rejects.count > 100
    assert [str(example) for example in mine.rejections.examples] == list(rejects.examples)
    assert mine.records == mine.headers + mine.foreign + mine.counted + mine.rejections.count


@pytest.mark.parametrize("size", [8209, 16411, 65537])
def test_where_a_block_ends_makes_no_difference(engine: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(dirty_file(), "python")
    monkeypatch.setattr(reader_module, "BUFFER_BYTES", size)
    pieces = read(dirty_file(), engine)
    assert table(pieces).equals(table(whole))
    assert pieces.rejections.by_kind == whole.rejections.by_kind
    assert pieces.rejections.examples == whole.rejections.examples


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_in_any_order_with_any_delimiter(engine: str, delimiter: str) -> None:
    data = f"label,bytes,success,elapsed,x,timeStamp\nhome,7,true,12,,{T}\nhome,8,false,13,,{T}\n"
    result = read(data.replace(",", delimiter), engine)
    assert {key: histogram.total for key, histogram in result.latency.items()} == {
        ("home", "ok"): 1,
        ("home", "service_error"): 1,
    }
    assert result.bytes == {("home", "ok"): 7, ("home", "service_error"): 8}


def test_a_file_without_header_needs_its_columns(engine: str) -> None:
    data = f"{T},12,home,true\n"
    with pytest.raises(InvalidData, match="print_field_names"):
        read(data, engine)
    assert read(data, engine, columns=("timeStamp", "elapsed", "label", "success")).counted == 1
    with pytest.raises(ConfigError, match="lacks elapsed"):
        JtlOptions(columns=("timeStamp", "label", "success"))


def test_gzip_bom_and_carriage_returns(engine: str) -> None:
    data = ("\ufeff" + HEADER + row(arrival="1:5") * 3).replace("\n", "\r\n").encode()
    plain, packed = read(data, engine), read(gzip.compress(data), engine)
    assert plain.counted == packed.counted == 3
    assert table(plain).equals(table(packed))
    assert plain.lag.total == 1  # of the arrival's first row


def test_a_damaged_gzip_file_is_rejected_where_it_ends(engine: str) -> None:
    packed = gzip.compress((HEADER + "".join(row(T + n, n, arrival=f"{n}:5") for n in range(9000))).encode())
    result = read(packed[:-2000], engine)
    assert result.rejections.by_kind["compression"] == 1
    assert 0 < result.counted < 9000


def test_appended_files_with_another_order_of_columns(engine: str) -> None:
    other = f"label,success,elapsed,timeStamp\nhome,true,12,{T}\n"
    result = read(HEADER + row(arrival="1:1") + HEADER + row(arrival="2:1") + other, engine)
    assert (result.headers, result.counted, result.rejections.count) == (3, 3, 0)


@pytest.mark.parametrize(
    "start", [b'<?xml version="1.0"?>\n<testResults>', b"\xef\xbb\xbf \n<testResults version='1.2'>"]
)
def test_xml_is_refused_with_the_cure(start: bytes) -> None:
    with pytest.raises(InvalidData, match="output_format=csv"):
        read(start)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (row(T, 2_000_000_000), "range"),
        (row(T * 1000), "range"),
        (row(T // 1000), "range"),
        (row(T, -1), "range"),
        (row(T, "1_0"), "number"),
        (row(T, "NaN"), "number"),
        (row(T, ""), "number"),
        (row(T, "9" * 40), "range"),
        (row(arrival="1:-5"), "range"),
        (row(arrival="1"), "number"),
        (row(arrival="1:5").replace("true", "True"), "success"),
        (row(arrival="1:5")[:-1] + ",\n", "fields"),
        (row(label='"a"b', arrival="1:5").replace("OK", '"'), "quotes"),
        ("x" * 5000 + "\n", "long"),
    ],
)
def test_each_kind_of_rejection_is_counted_and_located(
    engine: str, bad: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "BUFFER_BYTES", 4096)
    result = read(HEADER + row(arrival="1:1") + bad + row(arrival="2:1"), engine)
    assert result.rejections.by_kind == {kind: 1}
    assert result.rejections.examples[0].line == 3
    assert result.counted == 2


def test_an_unfinished_last_line_is_rejected_even_if_it_looks_whole(engine: str) -> None:
    result = read(HEADER + row(arrival="1:1") + row(arrival="2:1")[:-1], engine)
    assert result.rejections.by_kind == {"cut": 1}
    assert result.rejections.examples[0].line == 3


def test_late_rows_are_an_addition_to_a_finished_second(engine: str) -> None:
    rows = [row(T + n * 1000, arrival=f"{n}:0") for n in range(400)] + [row(T, 7, arrival="900:0")]
    data = (HEADER + "".join(rows)).encode()
    pieces = list(iterate_seconds(io.BytesIO(data), options=JtlOptions(engine=engine, lateness_s=1)))
    assert SecondTable.merged(pieces).equals(table(read(data, engine)))
    assert SecondTable.merged(pieces).rows_counted == 401


THREADS = "timeStamp,elapsed,label,responseMessage,threadName,success\n"
SAMPLES = "Number of samples in transaction : 2, number of failing samples : 0"


def in_thread(start: int, elapsed: int, label: str, thread: str, message: str = "OK") -> str:
    return f'{T + start},{elapsed},{label},"{message}",{thread},true\n'


def counts(aggregate: JtlAggregate) -> dict[str, int]:
    return {label: histogram.total for (label, _), histogram in aggregate.latency.items()}


@pytest.mark.parametrize("thread", ["users 1-1", "Käufer 1-1", "ein sehr langer Name einer Gruppe 1-1"])
def test_a_transaction_controller_is_not_counted_beside_its_samples(engine: str, thread: str) -> None:
    other = in_thread(5, 500, "other", "users 1-2")
    visit = in_thread(10, 5, "a", thread) + other + in_thread(20, 9, "b", thread)
    file = THREADS + (visit + in_thread(10, 14, "visit", thread, SAMPLES)) * 3
    result = read(file, engine)
    assert counts(result) == {"a": 3, "b": 3, "other": 3}
    assert (result.excluded, result.controllers) == (3, 0)


def test_a_transaction_controller_that_generates_a_parent_sample_counts(engine: str) -> None:
    rows = [in_thread(n * 20, 15, "visit", "users 1-1", SAMPLES) for n in range(4)]
    result = read(THREADS + in_thread(-100, 99, "a", "users 1-1") + "".join(rows), engine)
    assert counts(result) == {"a": 1, "visit": 4}
    assert (result.excluded, result.controllers) == (0, 4)


def test_nested_transaction_controllers_repeat_their_samples_both(engine: str) -> None:
    inner, outer = in_thread(10, 5, "inner", "t", SAMPLES), in_thread(8, 9, "outer", "t", SAMPLES)
    assert counts(read(THREADS + (in_thread(10, 5, "a", "t") + inner + outer) * 5, engine)) == {"a": 5}


def test_a_long_file_is_handed_over_in_pieces_of_which_nothing_is_lost(engine: str) -> None:
    """More rows than the kernel has room for, over ten minutes, some of them minutes late."""
    count, header = (1_300_000 if engine == "kernel" else 60_000), "timeStamp,elapsed,label,success\n"
    starts = [T + n * 600_000 // count - (200_000 if n % 1000 == 7 else 0) for n in range(count)]
    data = header + "".join(f"{start},{start % 977},l{start % 3},true\n" for start in starts)
    pieces = list(iterate_seconds(io.BytesIO(data.encode()), options=JtlOptions(engine=engine, lateness_s=30)))
    merged = SecondTable.merged(pieces)
    assert merged.rows_counted == count
    completed, started = merged.counts_by_second()
    assert started == Counter((start // 1000, f"l{start % 3}", "ok") for start in starts)
    assert completed == Counter((start + start % 977) // 1000 for start in starts)
    assert engine == "python" or len(pieces) > 1


def test_transaction_controllers_can_be_kept_or_dropped(engine: str) -> None:
    controller = row(label="checkout", arrival="1:5").replace("OK", SAMPLES)
    data = HEADER + (controller.replace(SAMPLES, f'"{SAMPLES}"') + row(arrival="2:0")) * 3
    for kept in ("look", "keep"):  # the file does not tell the threads
        result = read(data, engine, controllers=kept)
        assert (result.counted, result.controllers) == (6, 3)
    result = read(data, engine, controllers="drop")
    assert (result.counted, result.excluded, list(result.latency)) == (3, 3, [("home", "ok")])


def test_the_threads_that_are_remembered_are_bounded(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [in_thread(10, 5, "a", f"t{n}") for n in range(REMEMBERED_THREADS + 5)]
    controllers = [in_thread(10, 5, "visit", f"t{n}", SAMPLES) for n in (0, REMEMBERED_THREADS + 1)]
    assert read(THREADS + "".join(rows + controllers), engine).excluded == 1


def test_too_many_labels_are_refused(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_LABELS", 3)
    with pytest.raises(InvalidData, match="line 5: more than 3 labels"):
        read(HEADER + "".join(row(label=f"item {n}") for n in range(9)), engine)


def test_the_arrivals_that_are_remembered_are_those_of_the_follower(engine: str) -> None:
    numbers = [*range(33_000), 100, 32_900, 0, 231, 232, 233, 32_999, 100]
    data = (HEADER + "".join(row(arrival=f"{n}:7") for n in numbers)).encode()
    follower = JtlFollower("x")
    follower.feed(data)
    assert table(read(data, engine)).seconds().lag == follower.drain().lag


def test_an_empty_file_holds_nothing(engine: str) -> None:
    assert read(b"", engine).records == 0
    assert read(HEADER, engine).counted == 0
