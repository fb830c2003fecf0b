"""Text that others wrote, made safe to show: it moves no cursor, changes no colour and stays on its line."""

from unicodedata import east_asian_width

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_ONE_LINE = _CONTROLS | {ord("\n"): "\\n", ord("\t"): " "} | {code: f"\\u{code:04x}" for code in (0x2028, 0x2029)}


def one_line(text: str) -> str:
    """Return `text` on one line, its control characters spelled out."""
    return text if text.isprintable() else text.translate(_ONE_LINE)


def several_lines(text: str) -> str:
    """Return `text` with its lines as they are, and its control characters spelled out."""
    return text.translate(_CONTROLS)


def fit(text: str, width: int) -> str:
    """Return as much of `text` as fits into `width` columns of a terminal; ``…`` ends what was cut."""
    if len(text) <= width and text.isascii():
        return text
    used = 0
    for position, character in enumerate(text):
        used += 2 if east_asian_width(character) in "WF" else 1
        if used > width:
            return _cut(text[:position], width)
    return text


def _cut(text: str, width: int) -> str:
    while text and sum(2 if east_asian_width(character) in "WF" else 1 for character in text) >= width:
        text = text[:-1]
    return f"{text}…" if width > 0 else ""
