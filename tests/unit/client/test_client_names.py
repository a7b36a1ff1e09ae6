import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api import modelservice
from slipway.client.errors import InvalidInputError
from slipway.client.names import MAX_NAME, PATTERN, check_name


def test_rule_is_that_of_the_api():
    assert modelservice.NAME_PATTERN.strip("^$") == PATTERN
    assert modelservice.NAME_MOST == MAX_NAME


@pytest.mark.parametrize("name", ["iris", "a", "iris-2", "a" * MAX_NAME])
def test_accepts(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem", "proposal"),
    [
        ("Iris", "it has 'I'", "iris"),
        ("iris_v2", "it has '_'", "iris-v2"),
        ("../secrets", "it has '.', '/'", "secrets"),
        ("2iris", "begin with a letter", "iris"),
        ("iris-", "end with a letter or digit", "iris"),
        ("iris\n", "it has '\\n'", "iris"),
        ("a" * 51, "it has 51 characters, at most 50", "a" * 50),
        ("", "it is empty", "iris"),
    ],
)
def test_refusal_says_what_is_wrong_and_proposes_a_name(name, problem, proposal):
    with pytest.raises(InvalidInputError) as refused:
        check_name(name)
    assert problem in refused.value.message
    assert refused.value.hint == f"For example: {proposal}."


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.text(max_size=70))
def test_every_proposal_is_a_name(text):
    try:
        check_name(text)
    except InvalidInputError as refused:
        proposal = re.fullmatch(r"For example: (.*)\.", refused.hint)[1]
        assert check_name(proposal) == proposal
