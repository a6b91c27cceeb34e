"""Reads the parameters out of a T-SQL procedure's source, up to the AS that begins its body.

sys.parameters lacks the defaults of T-SQL procedures, and Babelfish lacks sys.parameters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_NAME = r"[\w@$#\u0080-\U0010ffff]"
_TOKEN = re.compile(
    rf"""
    (?P<blank>\s+|--[^\n]*)
  | (?P<comment>/\*)
  | (?P<string>N?'(?:[^']|'')*')
  | (?P<quoted>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
  | (?P<variable>@{_NAME}+)
  | (?P<number>0x[0-9a-f]*|[$\u00a2-\u00a5\u20a0-\u20b1]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)
  | (?P<word>(?!\d){_NAME}+)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_LITERALS = ("string", "number", "word", "quoted")


class HeaderError(ValueError):
    """The source is no T-SQL procedure that this module can read; one sentence says where."""


@dataclass(frozen=True)
class HeaderParameter:
    """A parameter as declared. type_schema is None where the type's name has one part.

    type_arguments: the text in the parentheses after the type, "" without.
    default: the SQL text of the constant, "NULL" among them; None without a default.
    """

    name: str
    type_name: str
    type_schema: str | None = None
    type_arguments: str = ""
    default: str | None = None
    is_output: bool = False
    is_readonly: bool = False

    @property
    def type(self) -> str:
        """The type's name as it stands, such as `decimal(10,2)` or `dbo.OrderLines`."""
        name = f"{self.type_schema}.{self.type_name}" if self.type_schema else self.type_name
        return f"{name}({self.type_arguments})" if self.type_arguments else name


class _Token(NamedTuple):
    kind: str
    text: str
    line: int

    @property
    def word(self) -> str:
        """A keyword in upper case; "" for a quoted name or a sign."""
        return self.text.upper() if self.kind in ("word", "sign") else ""


def read_header(definition: str) -> tuple[HeaderParameter, ...]:
    """The parameters of `CREATE PROCEDURE …`, in order. Raises HeaderError."""
    reader = _Reader(_tokens(definition))
    reader.skip_to_parameters()
    in_parentheses = reader.take("(")
    found = []
    while reader.here.kind == "variable":
        found.append(reader.parameter())
        if not reader.take(","):
            break
    if in_parentheses:
        reader.expect(")")
    if reader.here.word not in ("AS", "WITH", "FOR"):
        raise reader.error("AS")
    return tuple(found)


def _tokens(text: str) -> Iterator[_Token]:
    """Tokens without blanks and comments, one of kind "end" last."""
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None and found.lastgroup is not None  # its last branch is any character
        end = found.end()
        if found.lastgroup == "comment":
            end = _comment_end(text, at)
        elif found.lastgroup != "blank":
            yield _Token(found.lastgroup, found[0], line)
        line += text.count("\n", at, end)
        at = end
    while True:
        yield _Token("end", "the end", line)


def _comment_end(text: str, at: int) -> int:
    """T-SQL's block comments nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


class _Reader:
    """Reads one token after the other; `here` is the next one."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self.here = next(tokens)

    def next(self) -> _Token:
        token, self.here = self.here, next(self._tokens)
        return token

    def take(self, *words: str) -> bool:
        """Whether the next token is one of `words`; it is read then."""
        if self.here.word not in words:
            return False
        self.next()
        return True

    def expect(self, *words: str) -> None:
        if not self.take(*words):
            raise self.error(" or ".join(words))

    def error(self, wanted: str) -> HeaderError:
        return HeaderError(f"Line {self.here.line}: {wanted} expected, not {self.here.text[:40]}.")

    def skip_to_parameters(self) -> None:
        while not self.take("PROCEDURE", "PROC"):
            if self.here.kind == "end":
                raise self.error("CREATE PROCEDURE")
            self.next()
        self.name()
        while self.take("."):
            self.name()
        if self.take(";"):
            self.next()  # the number of a numbered procedure

    def name(self) -> str:
        if self.here.kind not in ("word", "quoted"):
            raise self.error("a name")
        return _unquoted(self.next())

    def parameter(self) -> HeaderParameter:
        name = self.next().text[1:]
        self.take("AS")
        schema, type_name = None, self.name()
        while self.take("."):
            schema, type_name = type_name, self.name()
        # national character varying, double precision
        while schema is None and self.here.word in (
            "CHARACTER",
            "CHAR",
            "TEXT",
            "VARYING",
            "PRECISION",
        ):
            type_name += f" {self.next().text}"
        arguments = self.arguments() if self.take("(") else ""
        self.take("VARYING")
        if self.take("NOT"):
            self.expect("NULL")
        else:
            self.take("NULL")
        default = self.default(name) if self.take("=") else None
        is_output = self.take("OUT", "OUTPUT")
        is_readonly = self.take("READONLY")
        if schema is not None and schema.lower() == "sys":
            schema = None
        return HeaderParameter(name, type_name, schema, arguments, default, is_output, is_readonly)

    def arguments(self) -> str:
        texts = []
        while not self.take(")"):
            if self.here.kind == "end":
                raise self.error(")")
            texts.append(self.next().text)
        return "".join(texts)

    def default(self, name: str) -> str:
        sign = self.next().text if self.here.text in ("-", "+") else ""
        if self.here.kind not in _LITERALS:
            raise self.error(f"a constant as the default of @{name}")
        text = sign + self.next().text
        if self.here.text == "(":
            raise HeaderError(
                f"Line {self.here.line}: the default of @{name} must be a constant,"
                f" not a call of {text}."
            )
        return text


def _unquoted(token: _Token) -> str:
    if token.kind != "quoted":
        return token.text
    closer = token.text[-1]
    return token.text[1:-1].replace(closer * 2, closer)
