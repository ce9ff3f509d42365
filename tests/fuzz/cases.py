"""Sound JTL files of every shape that JMeter's properties can give them, and changes that spoil them."""

from __future__ import annotations

import random
from collections.abc import Callable

COLUMNS = ["timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success", "bytes"]
FURTHER = ["threadName", "headroom_arrival", "failureMessage", "URL", "SampleCount"]
DELIMITERS = (",", ",", ",", ";", "\t", "|")
LABELS = ("home", "search", "a, b; c|d", 'say "hi"', "two\nlines", "größe", "", "plain\r\nend", "x" * 70, "0123456")
THREADS = ("users 1-1", "users 1-2", "Käufer 1-1", "t")
SAMPLES = "Number of samples in transaction : 2, number of failing samples : 0"
FAILED = (
    ("503", "busy", "false"),
    ("200", "", "false"),
    ("Non HTTP response code: java.net.SocketTimeoutException", "Read timed out", "false"),
)
NUMBERS = (b"-1", b"0", b"1" * 15, b"1" * 16, b"1" * 18, b"9" * 30, b"999999999999", b"NaN", b"1e9", b"a:b", b"1:2:3")
NUMBERS += (b"-5:1", b"7:", b":7", b"2026/08/03 03:00:00", b"1766000000", b"0001766000000000", b"\xd9\xa3", b"1_000")
JUNK = (b'"', b"\n", b",", b"\r\n", b"\r", b'""', b",,", b"\xef\xbb\xbf", b"\x00", b"\xff\xfe\xe9", b"-", b" 7")
JUNK += (b"null", b";", b"\n\n", b'\n"', b"true", b"\xc3", b"|", b"\t")


def make(dice: random.Random) -> bytes:
    """A sound file: some columns in some order, some delimiter, lines in the order of their ends or not."""
    columns = COLUMNS[: dice.choice((6, 7, 7))] + [name for name in FURTHER if dice.random() < 0.4]
    if dice.random() < 0.3:
        dice.shuffle(columns)
    delimiter, end = dice.choice(DELIMITERS), dice.choice(("\n", "\n", "\r\n"))
    jitter = dice.choice((0, 0, 1000, 300_000))
    lines = [delimiter.join(f'"{name}"' if name == "headroom_arrival" else name for name in columns)]
    started = 1_766_000_000_000
    for number in range(dice.randrange(1, 60)):
        started += dice.randrange(400)
        code, message, success = dice.choice((("200", "OK", "true"), ("200", "OK", "true"), dice.choice(FAILED)))
        if dice.random() < 0.15:
            code, message = "", SAMPLES
        row = {
            "timeStamp": started - dice.randrange(jitter + 1),
            "elapsed": dice.choice((0, dice.randrange(30), dice.randrange(3000), dice.randrange(10**8))),
            "label": dice.choice(LABELS),
            "responseCode": code,
            "responseMessage": message,
            "success": success,
            "bytes": dice.randrange(10 ** dice.randrange(1, 12)),
            "threadName": dice.choice(THREADS),
            "headroom_arrival": dice.choice(
                ("", "null", f"{number // 2}:{dice.randrange(5000)}", f"{number}:{dice.randrange(9**7)}")
            ),
            "failureMessage": dice.choice(("", "", 'expected "a"\nbut got "b"')),
            "URL": dice.choice(("null", "http://x/?a=1,2")),
            "SampleCount": 1,
        }
        lines.append(delimiter.join(quoted(str(row[name]), delimiter) for name in columns))
    return (end.join(lines) + end).encode()


def quoted(text: str, delimiter: str) -> str:
    """As JMeter's CSVSaveService does."""
    if any(character in text for character in (delimiter, '"', "\r", "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def flip(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(max(len(data), 1))
    return data[:at] + bytes([(data[at : at + 1] or b"\0")[0] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


def cut_out(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + data[at + dice.randrange(1, 40) :]


def cut_off(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def junk(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice(JUNK) + data[at:]


def header_again(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\n")
    lines.insert(dice.randrange(len(lines)), lines[0])
    return b"\n".join(lines)


def another_file(data: bytes, dice: random.Random) -> bytes:
    """Appended, with columns and a delimiter of its own; perhaps in the middle of a line, perhaps with a BOM."""
    return data[: len(data) - dice.choice((0, 0, 0, 5))] + dice.choice((b"", b"", b"\xef\xbb\xbf")) + make(dice)


def out_of_order(data: bytes, dice: random.Random) -> bytes:
    first, *middle = data.split(b"\n")
    last = middle.pop() if middle else b""
    dice.shuffle(middle)
    return b"\n".join([first, *middle, last])


def bad_field(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\n")
    line = dice.randrange(len(lines))
    fields = lines[line].split(b",")
    fields[dice.randrange(len(fields))] = dice.choice((*JUNK, *NUMBERS, *NUMBERS))
    lines[line] = b",".join(fields)
    return b"\n".join(lines)


def carriage_return(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\n")
    line = dice.randrange(len(lines))
    lines[line] = (
        lines[line].rstrip(b"\r") if lines[line].endswith(b"\r") else lines[line] + b"\r" * dice.choice((1, 2))
    )
    return b"\n".join(lines)


def no_header(data: bytes, dice: random.Random) -> bytes:
    return data.partition(b"\n")[2]


def other_format(data: bytes, dice: random.Random) -> bytes:
    xml = b'<?xml version="1.0" encoding="UTF-8"?>\n<testResults version="1.2">\n<httpSample t="5"/>\n</testResults>\n'
    return dice.choice((xml, b"\xef\xbb\xbf\n" + xml, data.decode("utf-8", "replace").encode("utf-16")))


def bom(data: bytes, dice: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + data


def long_line(data: bytes, dice: random.Random) -> bytes:
    at = dice.choice([0, *(at + 1 for at, byte in enumerate(data) if byte == 10)])
    return data[:at] + b"x" * dice.choice((60_000, 70_000, 1_100_000)) + b"\n" + data[at:]


def late_row(data: bytes, dice: random.Random) -> bytes:
    """One row again, minutes to hours later or earlier than it was."""
    shift = dice.choice((-7_200_000, -100_000, 100_000, 7_200_000))
    lines = data.split(b"\n")
    row = dice.choice(lines)
    return data + row.replace(b"1766000", str(1_766_000 + shift // 1_000_000).encode()) + b"\n"


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, flip, cut_out, cut_off, junk, junk, junk, header_again, another_file, out_of_order, bad_field, bad_field),
    *(bad_field, carriage_return, bom, late_row),
)
RARE = (no_header, other_format, long_line)


def mutate(data: bytes, dice: random.Random) -> tuple[bytes, str]:
    """One change of a random kind, and its name."""
    change = dice.choice(RARE) if dice.random() < 0.03 else dice.choice(MUTATIONS)
    return change(data, dice), change.__name__.replace("_", " ")
