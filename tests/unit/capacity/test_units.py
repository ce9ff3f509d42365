import pytest

from include.capacity.units import MILLISECONDS, RATIO, SECONDS, TPS, parse_quantity


@pytest.mark.parametrize(
    ("text", "units", "value"),
    [
        ("250 ms", MILLISECONDS, 250.0),
        ("0.25s", MILLISECONDS, 250.0),
        ("10 min", SECONDS, 600.0),
        (" 1 % ", RATIO, 0.01),
        ("1e2 tps", TPS, 100.0),
        ("90 /min", TPS, 1.5),
    ],
)
def test_quantities_are_read_in_the_base_unit(text: str, units: dict[str, float], value: float) -> None:
    assert parse_quantity(text, units) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("250", "has no unit"),
        (250, "has no unit"),
        ("250 parsecs", "unknown unit 'parsecs'"),
        ("fast", "is not a quantity"),
        ("", "is not a quantity"),
        ("nan ms", "is not a quantity"),
        (None, "is not a quantity"),
        (True, "is not a quantity"),
    ],
)
def test_anything_else_is_refused_with_the_accepted_units(text: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        parse_quantity(text, MILLISECONDS)
    assert "ms" in str(refused.value)


def test_a_bare_number_is_accepted_where_allowed() -> None:
    assert parse_quantity(3, SECONDS, bare=True) == 3.0
    assert parse_quantity("3", SECONDS, bare=True) == 3.0
