"""When a switch was not heard."""


def test_one_outage_is_one_row_from_its_beginning_to_its_end(store):
    store.outages.begin("fs1", 1000, "closed")
    store.outages.begin("fs1", 1500, "the engine was stopped")
    store.outages.begin("fs2", 1600, "closed")
    store.outages.end("fs1", 4000)
    store.outages.end("fs1", 9000).get()
    found = [(one["node"], one["since_ms"], one["until_ms"], one["why"]) for one in store.outages.between(0, 10_000)]
    assert found == [("fs1", 1000, 4000, "closed"), ("fs2", 1600, None, "closed")]
    store.outages.begin("fs1", 5000, "again").get()
    assert len(store.outages.between(0, 10_000)) == 3


def test_of_a_day_there_are_those_of_which_a_part_is_in_it(store):
    for since_ms, until_ms in ((0, 10), (5, 15), (12, 13), (18, 30), (30, 40)):
        store.outages.begin("fs1", since_ms, "closed")
        store.outages.end("fs1", until_ms)
    store.outages.begin("fs1", 19, "closed").get()
    assert [one["since_ms"] for one in store.outages.between(10, 20)] == [5, 12, 18, 19]
