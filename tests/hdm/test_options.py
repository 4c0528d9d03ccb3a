"""The options of a scan are listed once; whatever takes them shows them all."""

import dataclasses
import inspect
import typing

import pytest

import hdm_widgets as hw
from hdm_widgets import hdm

EXPLAINER = hdm.HausdorffDistanceMasks
TAKERS = [EXPLAINER.explain, EXPLAINER.stream, EXPLAINER.plan, EXPLAINER.prepare, hw.HDMExplorer.__init__]


def test_type_checkers_see_the_same_options():
    keywords = typing.get_type_hints(hdm.ScanKeywords)
    options = typing.get_type_hints(hdm.ScanOptions)
    del options["RETIRED"]
    assert keywords == options
    assert hdm.ScanKeywords.__total__ is False


@pytest.mark.parametrize("function", TAKERS)
def test_completion_and_help_show_every_option(function):
    parameters = inspect.signature(function).parameters
    for field in dataclasses.fields(hdm.ScanOptions):
        assert parameters[field.name].default == field.default
        assert parameters[field.name].kind == inspect.Parameter.KEYWORD_ONLY
        documented = hw.HDMExplorer if function is hw.HDMExplorer.__init__ else function
        assert f"\n{field.name} : " in documented.__doc__
    assert "options" not in parameters


@pytest.mark.parametrize("function", TAKERS)
@pytest.mark.parametrize(
    ("keyword", "advice"),
    [
        ("distanse", "did you mean 'distance'?"),
        ("imge", "did you mean 'image'?"),
        ("exact", "inference='estimate' estimates, and every other scan is exact"),
        ("zzz", "known are model, image, segment, "),
        ("kwargs", "known are model, image, segment, "),  # which Python's own constructors have
    ],
)
def test_an_unknown_keyword_is_named_with_advice(function, keyword, advice):
    with pytest.raises(TypeError) as caught:
        function(None, None, None, None, **{keyword: 1})
    assert str(caught.value).startswith(f"{function.__qualname__}() has no keyword {keyword!r}; {advice}")
