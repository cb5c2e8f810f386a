"""Machines that are already there: looked at, judged, brought in, let go, over SSH by Ansible.

What it refuses: to speak to a machine whose host key nobody confirmed, and to touch what holds data unless told by name.
"""

from commonpool.machines.error import HostKeyRefused, MachineError, RunFailed
from commonpool.machines.facts import Facts, facts
from commonpool.machines.run import Event, MachineRun
from commonpool.machines.survey import Access, Survey, recall, survey
from commonpool.machines.verdict import ROLES, Reason, Verdict, judge

__all__ = [
    "ROLES",
    "Access",
    "Event",
    "Facts",
    "HostKeyRefused",
    "MachineError",
    "MachineRun",
    "Reason",
    "RunFailed",
    "Survey",
    "Verdict",
    "facts",
    "judge",
    "recall",
    "survey",
]
