"""The text of a formula: its sides, its parse tree, the columns and the groups that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bayesmix.design import vocabulary
from bayesmix.errors import FormulaError, listed


def split(formula: str) -> tuple[str, str]:
    """The left and right-hand side of ``response ~ predictors``.

    Raises
    ------
    FormulaError
        No tilde, more than one, or an empty side.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"a formula is a text, got {type(formula).__name__} {formula!r}")
    sides = [side.strip() for side in formula.split("~")]
    if len(sides) != 2 or not all(sides):
        raise FormulaError(
            f"formula {formula!r} must read 'response ~ predictors', "
            "for example 'p(high, total) ~ sex + (sex | edu)'"
        )
    return sides[0], sides[1]


def variables(rhs: str) -> list[str]:
    """The data columns that a right-hand side reads, in a fixed order.

    Raises
    ------
    FormulaError
        The formula has a syntax error; the message shows it.
    """
    names = parsed(rhs).var_names
    numbers = [name for name in names if not isinstance(name, str)]
    if numbers:
        raise FormulaError(
            f"formula {rhs!r} holds the number {numbers[0]} as a term: only 1 (intercept), 0 and "
            "-1 (no intercept) can be; write arithmetic as I(2 * x)"
        )
    return sorted(name for name in names if name and not re.fullmatch(r"[\d.]+", name))


def parsed(rhs: str) -> Any:
    """The terms of a right-hand side, as formulae resolves them.

    Raises
    ------
    FormulaError
        The formula has a syntax error, or calls what it may not.
    """
    from formulae.resolver import Resolver
    from formulae.terms.terms import Model

    try:
        resolved: Any = Resolver(tree(rhs)).resolve()
        return resolved if isinstance(resolved, Model) else Model(resolved)
    except FormulaError:
        raise
    except Exception as error:
        raise FormulaError(f"cannot parse formula {rhs!r}: {error}") from error


def tree(rhs: str) -> Any:
    """The parse tree of a right-hand side, every call in it allowed.

    formulae's own parser stops in silence where a formula seems complete, so ``x z`` would be read
    as ``x``; here what is left over is an error.

    Raises
    ------
    FormulaError
        The formula has a syntax error, or calls what it may not.
    """
    from formulae.parser import Parser
    from formulae.scanner import Scanner

    try:
        parser: Any = Parser(_with_bars(Scanner(rhs).scan()))
        found = parser.parse()
        if not parser.at_end():
            raise FormulaError(
                f"cannot parse formula {rhs!r}: {parser.peek().lexeme!r} follows a complete term"
            )
        vocabulary.check(found, rhs)
    except FormulaError:
        raise
    except RecursionError as error:
        raise FormulaError("cannot parse the formula: it is nested too deeply") from error
    except Exception as error:
        raise FormulaError(f"cannot parse formula {rhs!r}: {error}") from error
    return found


def _with_bars(tokens: list[Any]) -> list[Any]:
    """Two bars in a row as one token, which formulae's parser takes for one bar."""
    kept: list[Any] = []
    for token in tokens:
        if kept and token.kind == kept[-1].kind == "PIPE" and kept[-1].lexeme == "|":
            kept[-1].lexeme = "||"
        else:
            kept.append(token)
    return kept


@dataclass(frozen=True)
class Block:
    """Effects of one grouping that are correlated: what stands in one pair of brackets.

    Parameters
    ----------
    grouping
        The groups as written.
    terms
        Names of the effects as formulae has them, ``1|g``, ``x|g``.
    """

    grouping: str
    terms: tuple[str, ...]


def blocks_of(rhs: str) -> list[Block]:
    """The blocks of correlated effects, in the order of the formula; none without groups.

    ``(x || g)`` is short for ``(1 | g) + (0 + x | g)``.

    Raises
    ------
    FormulaError
        An effect stands in two blocks of one grouping.
    """
    from formulae.resolver import Resolver

    if "|" not in rhs:
        return []
    known = {term.name for term in parsed(rhs).group_terms}
    blocks: list[Block] = []
    for node in _bars(tree(rhs)):
        resolved: Any = Resolver(node).resolve()
        by_grouping: dict[Any, list[str]] = {}
        for term in getattr(resolved, "group_terms", [resolved]):
            alone = term.name if node.operator.lexeme == "||" else None
            by_grouping.setdefault((term.factor.name, alone), []).append(term.name)
        blocks += [Block(name, tuple(terms)) for (name, _), terms in by_grouping.items()]
    _refuse_twice([term for block in blocks for term in block.terms])
    return [block for block in blocks if known.issuperset(block.terms)]


def _refuse_twice(terms: list[str]) -> None:
    twice = [term for term in dict.fromkeys(terms) if terms.count(term) > 1]
    if twice:
        effect, group = twice[0].rsplit("|", 1)
        raise FormulaError(
            f"the effect {twice[0]!r} stands in two terms: write (1 + x | {group}) for effects "
            f"that are correlated, (1 | {group}) + (0 + x | {group}) for independent ones; an "
            f"intercept is in every bracket that has no 0"
            + ("" if effect == "1" else f", and {effect} in one alone")
        )


def _bars(node: Any) -> Iterator[Any]:
    """Every ``effects | groups`` of a parse tree, from left to right."""
    if type(node).__name__ == "Binary" and node.operator.kind == "PIPE":
        yield node
        return
    for name in ("expression", "left", "right"):
        child = getattr(node, name, None)
        if type(child).__name__ in ("Binary", "Grouping", "Unary"):
            yield from _bars(child)


def predictors(description: Any) -> set[str]:
    """Columns that are read as predictors; the others only name groups."""
    common = (term.var_names for term in description.common_terms)
    varying = (term.expr.var_names for term in description.group_terms)
    return set().union(*common, *varying)


def groupings(rhs: str, description: Any) -> set[str]:
    """Columns that name groups, alone or joined by a colon.

    Raises
    ------
    FormulaError
        A function call stands where a column must be.
    """
    parts = [part for term in description.group_terms for part in term.factor.components]
    calls = [part.name for part in parts if part.var_names != {part.name}]
    if calls:
        raise FormulaError(
            f"groups in {rhs!r} must be columns, as in (1 | edu) or (1 | edu:state), got "
            f"{listed(calls)}; make it a column of the data first"
        )
    return {part.name for part in parts}
