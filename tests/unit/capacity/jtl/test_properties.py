"""The columns that JMeter writes, by its properties; the lines are JMeter 5.6.3's own."""

from __future__ import annotations

import io

import pytest

from include.capacity.errors import ConfigError
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.properties import PREFIX, options_of

DEFAULT = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,"
    "grpThreads,allThreads,URL,Latency,IdleTime,Connect"
)
EVERYTHING = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,"
    "grpThreads,allThreads,URL,Filename,Latency,Encoding,SampleCount,ErrorCount,Hostname,IdleTime,Connect,foo,bar"
)
ROWS = (
    "1795646289131\t136\tone\t\t\tGrp 1-1\ttext\ttrue\t\t0\t0\t1\t1\tnull\t0\t0\t0\n"
    "1795646289271\t100\ttwo\t\t\tGrp 1-1\ttext\ttrue\t\t0\t0\t1\t1\tnull\t0\t0\t0\n"
    '1795646289123\t236\t"visit, ""all"""\t200\t"Number of samples in transaction : 2, number of failing samples : 0"'
    "\tGrp 1-1\t\ttrue\t\t0\t0\t1\t1\tnull\t0\t12\t0\n"
)


def test_the_order_is_jmeters() -> None:
    assert ",".join(options_of({}).columns or ()) == DEFAULT
    further = ("filename", "encoding", "sample_count", "hostname")
    properties = {PREFIX + key: "true" for key in further} | {"sample_variables": "foo, bar"}
    assert ",".join(options_of(properties).columns or ()) == EVERYTHING
    fewer = options_of({PREFIX + "thread_counts": "false", PREFIX + "url": "FALSE"}).columns
    assert fewer == tuple(each for each in DEFAULT.split(",") if each not in ("grpThreads", "allThreads", "URL"))


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_a_file_without_a_header_is_read_by_its_properties(engine: str) -> None:
    properties = {PREFIX + "print_field_names": "false", PREFIX + "default_delimiter": "\\t"}
    options = options_of(properties, engine=engine, name="results.jtl")
    result = aggregate_jtl(io.BytesIO(ROWS.encode()), options=options)
    assert {label: latency.total for (label, _), latency in result.latency.items()} == {"one": 1, "two": 1}
    assert (result.excluded, result.rejections.count, result.headers) == (1, 0, 0)
    headed = aggregate_jtl(io.BytesIO((DEFAULT.replace(",", "\t") + "\n" + ROWS).encode()), options=options)
    assert (headed.headers, headed.latency) == (1, result.latency)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("output_format", "xml", "output_format: is not csv"),
        ("timestamp_format", "yyyy/MM/dd HH:mm:ss.SSS", "Set it to ms"),
        ("timestamp_format", "none", "Set it to ms"),
        ("successful", "false", "lacks success"),
        ("label", "false", "lacks label"),
        ("default_delimiter", "::", "cannot separate fields"),
    ],
)
def test_properties_under_which_a_file_cannot_be_read_are_refused(key: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        options_of({PREFIX + key: value})
