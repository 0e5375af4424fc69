from __future__ import annotations

from typing import get_args

from ebbgate.policy.authored import MODELS
from ebbgate.policy.detect import KINDS
from ebbgate.policy.plan import Policy
from ebbgate.policy.presets import PRESETS
from ebbgate.policy.words import CONSENT_SOURCES, GOOGLE_SIGNALS, ConsentSource, FreeTextAction, FreeTextKind, GoogleSignal
from tests.unit.policy.making import ROOT, policies

PAGE = (ROOT / "docs/reference/policy.md").read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    """A setting that the reference does not name does not exist for its readers."""
    for model in MODELS.values():
        for name in model.model_fields:
            assert f"`{name}" in PAGE or f"{name}:" in PAGE, name


def test_every_word_is_documented() -> None:
    """Sources, kinds, actions and presets are all in the reference."""
    for word in (*get_args(ConsentSource), *get_args(FreeTextKind), *get_args(FreeTextAction), *PRESETS):
        assert f"`{word}`" in PAGE, word


def test_word_lists_agree() -> None:
    """The lists for the code and those for the type checker hold the same words; so do the kinds and their finders."""
    assert get_args(ConsentSource) == CONSENT_SOURCES
    assert get_args(GoogleSignal) == GOOGLE_SIGNALS
    assert set(KINDS) == set(get_args(FreeTextKind))


def test_the_example_loads() -> None:
    """The first example of the reference is a sound policy."""
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    assert isinstance(policies(example).policies[0], Policy)
