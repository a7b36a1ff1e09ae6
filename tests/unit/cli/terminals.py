"""A terminal, as far as programs that redraw need one."""

import re

_PART = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\n)|(.)")


class Screen:
    """Knows cursor up, erase line and erase below; fails where a line would wrap or the screen would scroll."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [""]
        self.row = 0

    def write(self, text):
        for count, code, newline, char in _PART.findall(text):
            if newline:
                self.row += 1
                assert self.row < self.rows, "the screen would scroll"
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif code == "A":
                self.row -= int(count)
            elif code == "K":
                self.lines[self.row] = ""
            elif code == "J":
                self.lines = [*self.lines[: self.row], ""]
            elif char:
                self.lines[self.row] += char
                assert len(self.lines[self.row]) <= self.columns, "the line would wrap"

    def text(self):
        return [line.rstrip() for line in self.lines[:-1]]
