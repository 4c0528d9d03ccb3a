"""Words that texts of every part of the package form in the same way."""

__all__ = ["letter_by_letter", "quantity"]


def letter_by_letter(text: str) -> str:
    """A text that matplotlib draws as it is: between dollar signs it would read a formula."""
    return text.replace("$", r"\$")


def quantity(count: int, noun: str) -> str:
    """A number with its noun, such as "1 item" and "1,200 items"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
