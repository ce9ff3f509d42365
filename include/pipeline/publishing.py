"""Writes what people read of a run: the scaling document and its charts. What they say is decided in
`include.capacity.report`; here it is only rendered and written.

`python -m include.pipeline.publishing RESULT.json --seconds seconds.json --out DIR` renders them again from stored
artefacts: same input, same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.capacity.errors import HeadroomError, InvalidData, StoreError
from include.capacity.report.charts import history_chart, probes_chart, run_chart, story_chart
from include.capacity.report.document import document_context
from include.capacity.report.markdown import escaped
from include.capacity.report.result import result_text
from include.capacity.report.schema import check_result

TEMPLATES = Path(__file__).parents[1] / "templates"
GLOSSARY = "../glossary.md"  # as seen from docs/scaling/


def render_documents(
    result: Mapping[str, Any],
    seconds: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    *,
    glossary: str = GLOSSARY,
    run_folder: str | None = None,
) -> dict[str, bytes]:
    """The document and its charts: file name -> content, the document first.

    Args:
        result: content of result.json.
        seconds: rows of seconds.json (`RunSecond`); without any the run's chart is left out.
        history: earlier runs as `HistoryRun.summary` gives them, in any order.
        glossary: address of the glossary as seen from the document.
        run_folder: address of the run's folder as seen from the document, for links to Data Docs and raw data.

    Raises InvalidData when the result does not follow its schema or a row lacks a column.
    """
    check_result(dict(result))
    try:
        probes, run, past = probes_chart(result), run_chart(result, seconds), history_chart(result, history)
        story = story_chart(result)
    except KeyError as error:
        raise InvalidData(f"A row of the seconds or of the history lacks the column {error}.") from None
    from include.pipeline.drawing import draw_history, draw_probes, draw_run  # matplotlib takes a second
    from include.pipeline.drawing_story import draw_story

    service, charts = result["service"], dict[str, bytes]()
    if probes is not None:
        charts["probes"] = draw_probes(probes)
    if story is not None:
        charts["story"] = draw_story(story)
    if run is not None:
        charts["run"] = draw_run(run)
    if past is not None:
        charts["history"] = draw_history(past)
    names = {name: f"{service}-{name}.svg" for name in charts}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=escaped,
        autoescape=False,  # Markdown is escaped by `finalize`, HTML's entities would show in it
        keep_trailing_newline=True,
        trim_blocks=False,
    )

    context = document_context(result, charts=names, glossary=glossary, run_folder=run_folder)
    text = environment.get_template("scaling.md.j2").render(context)
    return {f"{service}.md": text.encode(), **{names[name]: content for name, content in charts.items()}}


def write_documents(
    result: Mapping[str, Any],
    seconds: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    glossary: str = GLOSSARY,
    run_folder: str | None = None,
) -> list[Path]:
    """Renders the document and its charts into a folder, which is made; see `render_documents`. Returns the files, the
    document first.

    Raises InvalidData as `render_documents`, StoreError when a file cannot be written.
    """
    return [
        _write(folder / name, content)
        for name, content in render_documents(
            result, seconds, history, glossary=glossary, run_folder=run_folder
        ).items()
    ]


def write_result(result: Mapping[str, Any], path: Path) -> Path:
    """Writes result.json. Raises InvalidData before anything is written when it does not follow its schema."""
    check_result(dict(result))
    return _write(path, result_text(result).encode())


def _write(path: Path, content: bytes) -> Path:
    """Replaces a file as a whole: a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}. Is the disk full or the folder read-only?"
        ) from error
    return path


def _read_json(path: Path, *, a_list: bool) -> Any:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InvalidData(f"{path} is not JSON: {error}.") from None
    if not isinstance(value, list if a_list else dict):
        raise InvalidData(f"{path} holds no {'list' if a_list else 'object'}.")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.publishing", description="Renders a run's document from stored artefacts."
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    parser.add_argument("--seconds", type=Path, help="seconds.json of the run; without it there is no chart over time")
    parser.add_argument("--history", type=Path, help="earlier runs, as a list of summaries; optional")
    parser.add_argument("--out", type=Path, required=True, help="folder for the document and its charts")
    parser.add_argument("--glossary", default=GLOSSARY, help="address of the glossary from there (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        result = _read_json(options.result, a_list=False)
        seconds = _read_json(options.seconds, a_list=True) if options.seconds else []
        history = _read_json(options.history, a_list=True) if options.history else []
        for path in write_documents(result, seconds, history, options.out, glossary=options.glossary):
            print(path)
    except HeadroomError as error:
        print(f"publishing: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
