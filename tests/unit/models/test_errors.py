"""Each error says what kind it is and speaks to a person."""

from __future__ import annotations

import inspect

import pytest

from models import errors

TREE = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.ModelError)
]


@pytest.mark.parametrize("error", TREE)
def test_no_error_of_a_model_is_cured_by_trying_again(error: type[errors.ModelError]) -> None:
    assert error("The file is wrong.").retryable is False


def test_every_error_has_a_kind_of_its_own() -> None:
    assert len({error.kind for error in TREE}) == len(TREE) == 7


@pytest.mark.parametrize("error", TREE)
def test_the_sentence_is_the_message(error: type[errors.ModelError]) -> None:
    raised = error("The file is wrong.")
    assert raised.sentence == str(raised) == "The file is wrong."


@pytest.mark.parametrize("error", TREE)
def test_the_tree_at_the_top_of_the_file_names_every_error(error: type[errors.ModelError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
