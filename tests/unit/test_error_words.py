"""Errors name settings as the reader of their face knows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import outspool
from outspool.api.errors import VARIABLES, describe, name_variables, name_variables_in_result
from outspool.app.settings import Settings
from outspool.domain.policy import Policy
from outspool.domain.setting import Setting
from outspool.errors import NotConfigured

SOURCE = Path(outspool.__file__).parent
BELOW_THE_FACES = ("domain", "ports", "message", "services", "adapters")


def test_every_setting_that_a_text_names_is_a_variable() -> None:
    assert set(VARIABLES) == set(Setting)
    assert set(VARIABLES.values()) <= Settings.names()


@pytest.mark.parametrize("setting", Setting)
def test_the_variable_stands_for_the_setting_at_any_place_of_a_sentence(setting: Setting) -> None:
    text = f"{setting.at_start} is empty, so set {setting}."
    assert name_variables(text) == f"{VARIABLES[setting]} is empty, so set {VARIABLES[setting]}."


def test_a_value_stands_beside_the_variable() -> None:
    text = f"Set {Setting.MAIL_SECURITY.to('none')}."
    assert text == 'Set the "mail server security" setting to "none".'
    assert name_variables(text) == "Set SMTP_SECURITY=none."


def test_a_result_names_variables_in_our_words_alone() -> None:
    ours, theirs = f"Set {Setting.SENDER}.", 'My "the "sender" setting" story'
    dumped = {
        "summary": ours,
        "subject": theirs,
        "error": {"hint": ours},
        "events": [{"detail": ours}],
        "notes": [ours],
    }
    said = "Set EMAIL_FROM."
    assert name_variables_in_result(dumped) == {
        "summary": said,
        "subject": theirs,
        "error": {"hint": said},
        "events": [{"detail": said}],
        "notes": [said],
    }


def test_an_error_says_plain_words_unless_its_face_names_variables() -> None:
    with pytest.raises(NotConfigured) as raised:
        Policy().choose_sender(None)
    assert str(raised.value) == (
        'not_configured: No sender is configured. The operator sets the "sender" setting; or give `from`.'
    )
    assert describe(raised.value) == (
        "not_configured: No sender is configured. The operator sets EMAIL_FROM; or give `from`."
    )


def test_no_variable_is_named_below_the_faces() -> None:
    variable = re.compile(rf"\b({'|'.join(sorted(Settings.names()))})\b")
    named = {
        f"{path.relative_to(SOURCE)}: {match[0]}"
        for layer in BELOW_THE_FACES
        for path in (SOURCE / layer).rglob("*.py")
        for match in variable.finditer(path.read_text())
    }
    assert named == set()
