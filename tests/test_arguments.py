"""Wrong arguments are refused with a message that names them, and no other error."""

import inspect
import warnings

import hypothesis
import numpy as np
import pytest
from hostile_arguments import (
    CALLS,
    CASES,
    ELSEWHERE,
    HOSTILE,
    LEGAL,
    WITHOUT_ARGUMENTS,
    is_legal,
    outcome,
    public_things,
)
from hypothesis import strategies

VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
WRONG = {}
for name, argument, label in CASES:
    if not is_legal(name, argument, label):
        WRONG.setdefault(name, []).append((argument, label))
# Any text may be a name or a path, any number is normalised, and four texts may be the
# labels of four images.
JUNK_PAIRS = sorted(
    {
        case[:2]
        for case in CASES
        if case[1]
        not in LEGAL["'a'"] | {"latents", "class_names", "captions", "summary"}
    }
)
JUNK = strategies.one_of(
    strategies.text(max_size=5),
    strategies.binary(max_size=5),
    strategies.sampled_from([np.nan, np.inf, -np.inf, 10**400, -1.5, 1j]),
    strategies.lists(strategies.text(max_size=3), max_size=4),
    strategies.dictionaries(strategies.text(max_size=3), strategies.none(), min_size=1),
    strategies.integers(5, 7).map(lambda rank: np.full((2,) * rank, "a")),
)


def test_every_public_thing_and_argument_is_called():
    assert public_things() == WITHOUT_ARGUMENTS | ELSEWHERE | {
        call for call, _ in CALLS.values() if not inspect.ismethod(call)
    }
    for name, (call, arguments) in CALLS.items():
        needed = {
            parameter.name
            for parameter in inspect.signature(call).parameters.values()
            if parameter.kind not in VARIABLE
        }
        assert needed <= set(arguments), name


def test_exceptions_are_of_arguments_that_there_are():
    named = set().union(*LEGAL.values())
    assert named <= {argument for _, argument, _ in CASES}


@pytest.mark.parametrize("name", WRONG)
def test_a_hostile_value_is_refused_by_name(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = [
            f"{argument}={label}: {found}"
            for argument, label in WRONG[name]
            if (found := outcome(name, {argument: HOSTILE[label]})) != "refused"
        ]
    assert wrong == []


@hypothesis.settings(max_examples=200, derandomize=True, deadline=None, database=None)
@hypothesis.given(strategies.sampled_from(JUNK_PAIRS), JUNK)
def test_junk_is_refused_by_name(pair, value):
    name, argument = pair
    hypothesis.assume(not isinstance(value, list) or len(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert outcome(name, {argument: value}) == "refused"


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_number_of_arguments_is_a_type_error(name):
    call, arguments = CALLS[name]
    with pytest.raises(TypeError, match="argument"):
        call(*arguments.values(), *range(20))
