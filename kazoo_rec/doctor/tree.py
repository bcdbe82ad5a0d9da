"""A directory of FreeSWITCH's configuration as FreeSWITCH has it: one XML document."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from kazoo_rec.doctor.preprocess import Text
from kazoo_rec.errors import ConfigError

#: How deep elements may be nested.
DEPTH = 100


@dataclass(frozen=True)
class Tree:
    root: Element
    text: Text

    def section(self, name: str) -> Element:
        """The first of that name, which alone counts; an empty one where there is none."""
        return next((one for one in self.root.iter("section") if one.get("name") == name), Element("section"))

    def configuration(self, name: str) -> Element | None:
        """The first of that name: FreeSWITCH looks at no other."""
        return next((one for one in self.section("configuration") if one.get("name") == name), None)


def read(directory: Path) -> Tree:
    """Puts the configuration together. Blocks. Raises ConfigError, with file and line, where it is no XML, has a DTD,
    or is beyond all bounds."""
    text = Text(directory)
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def broken(said, line=None):
        return ConfigError(f"the configuration is broken at {text.place(line or parser.CurrentLineNumber)}", said,
                           "FreeSWITCH reads less of it than is written there, if anything")

    def start(name, attributes):
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise broken(f"elements are nested more than {DEPTH} deep")
        builder.start(name, attributes)

    def end(name):
        nonlocal depth
        depth -= 1
        builder.end(name)

    def doctype(*_):
        raise broken("it has a DTD, which FreeSWITCH has no use for")

    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        parser.Parse(_without_comments(text.whole()).encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise broken(expat.ErrorString(error.code), error.lineno) from error
    return Tree(builder.close(), text)


def _without_comments(text):
    """FreeSWITCH's parser takes whatever stands between `<!--` and `-->`, XML does not."""
    kept, at = [], 0
    while (begun := text.find("<!--", at)) >= 0 and (ended := text.find("-->", begun)) >= 0:
        kept += text[at:begun], "\n" * text.count("\n", begun, ended)
        at = ended + 3
    return "".join((*kept, text[at:]))
