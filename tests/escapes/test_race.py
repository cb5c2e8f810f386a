"""A department's total is the sum of its namespaces' quotas, and the API server counts them under any race (T15, T16)."""

import time

from commonpool.embedded import EmbeddedPool

from escapes import race
from escapes.attempts import CORE
from escapes.caller import Caller


def test_two_hundred_at_once_at_the_edge_never_get_more_than_there_is(embedded_pool: EmbeddedPool, fresh: str) -> None:
    administrator = Caller.of_kubeconfig("administrator", embedded_pool.kubeconfig)
    spaces = {f"{fresh}-a": 7, f"{fresh}-b": 3, f"{fresh}-c": 11}
    race.prepare(administrator, spaces)
    found = list(race.rounds(administrator, spaces, 3))
    assert [one.too_many for one in found] == [0, 0, 0]
    for one in found:
        assert one.recorded == one.admitted, "the used count is what is there"
        assert sum(one.admitted.values()) + one.refused + len(one.others) == one.asked
        assert one.others == [], "nobody is told anything but yes or no"
        assert one.missed == 0, "whoever asks while there is room gets it"
    for space in spaces:
        administrator.send("DELETE", f"{CORE}/namespaces/{space}")
    deadline = time.monotonic() + 120
    while any(administrator.send("GET", f"{CORE}/namespaces/{space}").status != 404 for space in spaces):
        assert time.monotonic() < deadline, "others compare the whole pool before and after, and would see these go"
        time.sleep(0.2)
