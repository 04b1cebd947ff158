"""What is documented about the variables of a settings class."""

from __future__ import annotations

from tokenwire.variables import variables

from .test_environment import Example


def test_variables_list_what_is_documented() -> None:
    """The list has names, defaults and what each variable takes."""
    listed = {variable.name: variable for variable in variables(Example)}
    assert listed["TW_NUMBER"].default == "3"
    assert listed["TW_SWITCH"].takes == "true or false"
    assert listed["TW_SECRET"].is_secret
    assert listed["TW_REQUIRED"].default == ""
