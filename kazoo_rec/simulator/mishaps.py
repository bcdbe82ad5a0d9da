"""What befalls events and commands of certain words on their way."""


class Mishaps:
    """In order of their coming; each strikes the next that has its words, or all of them."""

    def __init__(self):
        self._coming = []

    def add(self, words: str, what, once: bool):
        self._coming.append((words.split(), what, once))

    def take(self, words: list[str]):
        """What befalls who has these words, or None."""
        for each in self._coming:
            wanted, what, once = each
            if all(word in words for word in wanted):
                if once:
                    self._coming.remove(each)
                return what
        return None
