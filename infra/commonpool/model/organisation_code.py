"""Unified social credit codes (GB 32100-2015): 17 characters and a check character, without I, O, S, V and Z."""

DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
WRONG_CODE = (
    "the check character of the organisation code is wrong",
    "organisation-code",
    "copy the code from the register again",
)


def check_character(first: str) -> str:
    """The 18th character for the first 17."""
    total = sum(DIGITS.index(mark) * weight for mark, weight in zip(first, _WEIGHTS, strict=True))
    return DIGITS[(31 - total % 31) % 31]


def is_valid(code: str) -> bool:
    """Whether the last character fits the others."""
    return check_character(code[:17]) == code[17]
