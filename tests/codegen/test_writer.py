"""Whatever stands in a comment or a text, the generated module holds just that."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.codegen.writer import Writer, quote, quoted, strings

# As comments come: lines without blanks at their ends.
WORDS = st.text(st.sampled_from("ab\"\\'{}%#\x07é✓ "), min_size=1, max_size=30)
LINES = st.lists(WORDS.map(str.strip), min_size=1, max_size=4)


def docstring_of(text: str) -> str:
    writer = Writer()
    writer.line("class A:")
    with writer.indented():
        writer.doc(text)
    found = ast.get_docstring(ast.parse(writer.text()).body[0], clean=False)  # type: ignore[arg-type]
    assert found is not None
    return found


@given(WORDS)
def test_a_docstring_of_one_line_is_the_comment(text: str) -> None:
    assert docstring_of(text.strip()) == text.strip()


@given(LINES)
def test_a_docstring_of_more_lines_has_the_comment_s_words(lines: list[str]) -> None:
    text = "\n".join(lines).strip("\n")
    assert docstring_of(text).split() == text.split()


def test_long_lines_are_broken_between_words() -> None:
    text = "word " * 60
    lines = docstring_of(text.strip()).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(lines).split() == text.split()


@given(st.text())
def test_a_text_is_quoted_in_printable_ascii(text: str) -> None:
    assert ast.literal_eval(quote(text)) == text
    assert quote(text).isascii()
    assert quote(text).isprintable()


@given(st.text(st.sampled_from('ab \n"\\'), max_size=200), st.integers(1, 40))
def test_a_text_in_parts_is_the_text(text: str, room: int) -> None:
    assert ast.literal_eval(quoted(text, room)) == text


@given(st.lists(st.text(max_size=30), max_size=8))
def test_texts_are_a_tuple(values: list[str]) -> None:
    assert ast.literal_eval(strings(values)) == tuple(values)
