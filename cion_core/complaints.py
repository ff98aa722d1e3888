"""What pandera and pydantic find wrong with tables and settings, in our words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a machine that only trains may have no pandas
    import pandas as pd

SHOWN = 5  # rows and values that a line shows
MOST_LINES = 2  # of a table's faults; the others are counted
KINDS = {
    "int": "whole numbers",
    "float": "numbers",
    "str": "text",
    "object": "text",
    "bool": "true or false",
}
CHECKS = (  # of pandera, by a pattern of its name for them
    (
        r"(?:coerce_)?dtype\('(int|float|str|object|bool)\w*'\)",
        lambda found: f"must be {KINDS[found[1]]}",
    ),
    (r"not_nullable", lambda found: "must not be empty"),
    (r"field_uniqueness", lambda found: "must be different in every row"),
    (r"greater_than_or_equal_to\((.+)\)", lambda found: f"must be at least {found[1]}"),
    (r"less_than_or_equal_to\((.+)\)", lambda found: f"must be at most {found[1]}"),
    (r"greater_than\((.+)\)", lambda found: f"must be above {found[1]}"),
    (r"isin\([\[(](.+)[\])]\)", lambda found: f"must be one of {found[1]}"),
    (r"str_length\((\d+), \1\)", lambda found: f"must be {found[1]} characters long"),
)
MESSAGES = (  # of pydantic, likewise
    (r"Field required", "is missing"),
    (r"Keys should be strings", "its keys must be text"),
    (r"Input should be a valid string", "must be text"),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be a valid list", "must be a list, such as [a, b]"),
    (r"Input should be a valid tuple", "must be a list, such as [a, b]"),
    (r"Input should be a valid dictionary.*", "must be a section of keys"),
    (r"Input should be greater than or equal to (.+)", r"must be at least \1"),
    (r"Input should be less than or equal to (.+)", r"must be at most \1"),
    (r"Input should be greater than (.+)", r"must be above \1"),
    (r"Input should be less than (.+)", r"must be below \1"),
    (r"Input should be (.+)", r"must be \1"),
    (
        r"(?:List|Tuple|Dictionary|Set|Value) should have at least (\d+) items?.*",
        r"must have \1 or more",
    ),
    (
        r"(?:List|Tuple|Dictionary|Set|Value) should have at most (\d+) items?.*",
        r"must have \1 or fewer",
    ),
    (
        r"String should match pattern '\^\[A-Za-z0-9_\].*",
        "must be a name of letters, digits, _ . and -",
    ),
    (r"String should (.+)", r"must \1"),
)


def of_setting(message: str) -> str:
    """What pydantic says of a setting, in our words.

    Example:
        "Input should be a valid string" becomes "must be text".
    """
    for pattern, words in MESSAGES:
        if re.fullmatch(pattern, message):
            return re.sub(pattern, words, message)
    return message


def of_table(cases: pd.DataFrame, needed: list[str]) -> list[str]:
    """What pandera finds wrong with a table, a line for each fault.

    Args:
        cases: its table of failure cases.
        needed: the columns that such a table must have.
    """
    lines = []
    absent = cases["failure_case"][cases["check"] == "column_in_dataframe"].tolist()
    if absent:
        lines.append(f"  no column {', '.join(absent)}; needed are {', '.join(needed)}")
        # What compares columns says nothing where some are missing.
        cases = cases[cases["schema_context"] != "DataFrameSchema"]
    others = cases[~cases["check"].isin(["column_in_dataframe", "column_in_schema"])]
    seen, without_rows = set(), []
    for (context, column, check), bad in others.groupby(
        ["schema_context", "column", "check"], dropna=False, sort=False
    ):
        whole_table = context == "DataFrameSchema"
        fault = check if whole_table else f"column {column}: {_of_check(str(check))}"
        # A value of the wrong kind fails twice, and then each check that compares it with a number
        # fails as well.
        compared = bad["index"].isna().all() and not whole_table
        if fault in seen or compared:
            without_rows.append(f"  {fault}")
            continue
        seen.add(fault)
        rows = bad["index"].dropna().astype(int).drop_duplicates().tolist()[:SHOWN]
        found = "" if whole_table else f", found {bad['failure_case'].tolist()[:SHOWN]}"
        lines.append(f"  {fault}{f', rows {rows}' if rows else ''}{found}")
    # Where a whole column is of another kind, such as lists, no row is told.
    lines = lines or without_rows[:1]
    more = len(lines) - MOST_LINES
    return (
        [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]}; and {more} more faults"]
        if more > 0
        else lines
    )


def _of_check(check: str) -> str:
    for pattern, words in CHECKS:
        if found := re.fullmatch(pattern, check):
            return words(found)
    return check
