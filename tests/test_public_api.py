"""What `import selftune` offers."""

import selftune


def test_all_is_sorted_and_importable() -> None:
    assert list(selftune.__all__) == sorted(selftune.__all__)
    assert all(hasattr(selftune, name) for name in selftune.__all__)
