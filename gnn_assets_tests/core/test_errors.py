import re

import pytest

from gnn_assets.core import errors
from gnn_assets.core.errors import ConfigError, GnnAssetsError


def drawn_tree():
    """Name → name of its parent, as the module's docstring draws it."""
    path, parents = [], {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ]*(?:[├└]── )?)([A-Z]\w+)(?:  .*)?$", line)
        if found:
            depth = len(found.group(1)) // 4
            path[depth:] = [found.group(2)]
            parents[found.group(2)] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert drawn_tree() == {kind.__name__: kind.__base__.__name__ for kind in classes}
    assert len(classes) > 15


def test_every_error_says_what_it_means():
    assert all(getattr(errors, name).__doc__.splitlines()[0].endswith(".") for name in drawn_tree())


def test_a_message_names_subject_expectation_value_and_remedy():
    refused = ConfigError.of("graphs.k", expected="a number from 1 on", was=0, do="raise it")
    assert isinstance(refused, ConfigError)
    assert str(refused) == "graphs.k: expected a number from 1 on, was 0; raise it."
    with pytest.raises(GnnAssetsError):
        raise refused
