"""What a caller, a tenant or a server may send to get further than its own field."""

from hypothesis import strategies as st

LONG = "A" * 65_536

#: Each ends, quotes or begins something, somewhere: a frame, a line, a header, an argument, a brace, a query, a path.
TEXTS = (
    "\n\nEvent-Name: CHANNEL_ANSWER\n\n", "x\r\nX-Evil: 1", "%0a%0aapi status", "%0D%0AX-Evil:%201", "\r", "\x00",
    "a\x00b", "{evil=1}", "}{", "[evil=1]", "<evil=1>", ",evil=1", "a,b", "^^:evil=1:b=2", "^^|a=1|", ";", ";evil=1",
    "a;b", "|", "|:", "ARRAY::a|:b",
    "'", '"', "\\", "\\'", "\\n", "' OR '1'='1", "'; DROP TABLE recordings; --", '"; --',
    "${uuid}", "${system(id)}", "$${domain}", "$(id)", "`id`", "| id", "&& id", "> /tmp/x",
    "../../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "a\\b", "~root", "C:\\x", "http://127.0.0.1/",
    "file:///etc/passwd",
    "?a=b", "&account_id=globex", "#x", "%", "%%", "%2e%2e%2f", "%s%n%x", "{0}{x}", "=1+1",
    "<script>alert(1)</script>", "\x1b[2J\x1b]0;evil\x07", "\u202etxt.exe", "\u2028", "\u0085", "\ufeff",
    "\udcff\udcfe", "\ud800", "\U0001f4de",
    "", " ", "\t", LONG,
)

#: One of them, perhaps amid other text; or anything.
texts = st.one_of(
    st.sampled_from(TEXTS),
    st.builds("{}{}{}".format, st.text(max_size=5), st.sampled_from(TEXTS[:-1]), st.text(max_size=5)),
    st.text(st.characters(), max_size=40),
)
