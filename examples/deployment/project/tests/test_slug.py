"""The suite that must pass before a release."""

import unittest

from slugger.slug import slugify


class SlugTest(unittest.TestCase):
    """What a slug looks like."""

    def test_words_are_joined_by_hyphens(self) -> None:
        """Blanks and signs end a word."""
        assert slugify("Hello,  World!") == "hello-world"

    def test_accents_are_dropped(self) -> None:
        """Letters lose their accents."""
        assert slugify("Crème brûlée") == "creme-brulee"

    def test_a_title_of_signs_has_an_empty_slug(self) -> None:
        """There is nothing to keep."""
        assert slugify("?!") == ""
