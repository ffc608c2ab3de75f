"""Session ids: which are generated, and which are accepted."""

import random
import re
import subprocess
import sys

import pytest

from dev_sessions import names

ALL = [f"{champion}-{role}" for champion in names.CHAMPIONS for role in names.ROLES]


class Last:
    """A random source that takes the last of what it is offered, and remembers the offer."""

    def choice(self, seq):
        self.offered = list(seq)
        return seq[-1]


def test_champions():
    assert len(names.CHAMPIONS) >= 150
    assert len(set(names.CHAMPIONS)) == len(names.CHAMPIONS)
    assert list(names.CHAMPIONS) == sorted(names.CHAMPIONS)
    assert {"fizz", "riven", "kaisa", "drmundo", "leesin"} <= set(names.CHAMPIONS)
    assert all(re.fullmatch("[a-z]+", champion) for champion in names.CHAMPIONS)


def test_every_name_we_make_is_valid():
    assert all(re.fullmatch("[a-z-]+", name) and names.is_valid(name) for name in ALL)
    assert names.is_valid("heimerdinger-top-1000")


def test_the_choice_is_among_all_free_names():
    source = Last()
    assert names.allocate((), source) == ALL[-1]
    assert source.offered == ALL


def test_taken_names_are_not_offered():
    source = Last()
    assert names.allocate(["fizz-top", "zyra-sup", "not-one-of-ours"], source) == "zyra-adc"
    assert source.offered == [name for name in ALL if name not in ("fizz-top", "zyra-sup")]


def test_the_last_free_name():
    assert names.allocate([name for name in ALL if name != "fizz-top"], Last()) == "fizz-top"


def test_all_taken_appends_a_number():
    assert names.allocate(ALL, Last()) == "zyra-sup-2"
    twice = [*ALL, *(f"{name}-2" for name in ALL if name != "fizz-top")]
    assert names.allocate(twice, Last()) == "fizz-top-2"
    assert names.allocate([*twice, "fizz-top-2"], Last()) == "zyra-sup-3"


def test_the_standard_random_source_fits():
    name = names.allocate((), random.Random(7))
    assert name in ALL
    assert name == names.allocate((), random.Random(7))


@pytest.mark.parametrize("good", ["a", "fizz-top", "x1", "a--b", "parser-2", "a" * 64])
def test_valid(good):
    assert names.is_valid(good)


@pytest.mark.parametrize(
    "bad",
    [
        *("", "-", "a-", "-a", "1a", "A", "Fizz-top", "a b", "a_b", "a.b", "a:b", "a/b", "../a"),
        *("a\n", "\na", "é", "aé", "a²", "١", "a" * 65),
    ],
)
def test_invalid(bad):
    assert not names.is_valid(bad)
    assert names.is_group(bad) == (bad == "1a")


def test_groups_follow_the_rule_of_ids_but_may_start_with_a_digit():
    assert names.is_group("fizz-top")
    assert names.is_group("20261128-045651-0a1b2c")
    assert not names.is_group("$(touch x)")
    assert not names.is_group(5)


def test_import_is_cheap():
    code = """
import sys
import dev_sessions.names
print(*{"collections.abc", "dataclasses", "pathlib", "random", "re", "typing"} & set(sys.modules))
"""
    child = subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path[:] = {sys.path!r}{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == ""
