"""What the eye takes for the same text: names that could be mistaken for each other have the same skeleton."""

import unicodedata

# Letters of other scripts that look like a Latin one; the ones that keyboards offer, not all of Unicode TR39.
_LOOKS = str.maketrans("аеорсухіјѕһԁԛԝαορνικτ", "aeopcyxijshdqwaopvikt")


def skeleton(text: str) -> str:
    """A text reduced to what the eye sees, for comparing: compatibility forms folded, look-alikes mapped, case dropped."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_LOOKS).replace(" ", "")
