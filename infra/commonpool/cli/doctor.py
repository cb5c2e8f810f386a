"""`commonpool doctor`: a running pool held against the threat model (SECURITY.md), with what mends what is found.

It changes nothing that stands. To see whether the network is enforced it runs three pods in a namespace that it deletes.
"""

import asyncio
from dataclasses import asdict

from commonpool.cli.checkup import CHECKS, Finding, Patient
from commonpool.cli.failure import FAILED, OK
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

_SIGNS = {"well": ("✓", "green"), "ill": ("✗", "red"), "unknown": ("?", "yellow")}


def examine(target: Target, output: Output) -> int:
    """Print what every check finds; exit code 1 when something is ill."""
    estate = target.load()
    with output.working("examining the pool"):
        findings = asyncio.run(_all(Patient(target, estate, target.credentials()), output))
    ill = [finding for finding in findings if finding.state == "ill"]
    if output.structured:
        output.document("Examination", well=not ill, findings=[asdict(finding) for finding in findings])
    else:
        rows = []
        for finding in findings:
            sign, color = _SIGNS[finding.state]
            rows.append([output.paint(sign, color), finding.check, finding.words])
            if finding.mend and finding.state != "well":
                rows.append(["", "", f"mend: {finding.mend}"])
        output.data(output.table(["", "", ""], rows, left=3))
        unknown = sum(finding.state == "unknown" for finding in findings)
        output.data(f"\n{count(len(findings), 'finding')}: {len(ill)} ill, {unknown} unknown")
    return FAILED if ill else OK


async def _all(patient: Patient, output: Output) -> list[Finding]:
    from commonpool.engine import Cluster
    from commonpool.engine.error import EngineError

    found: list[Finding] = []
    async with await Cluster.connect(patient.credentials) as cluster:
        for name, check in CHECKS.items():
            output.progress(f"examining: {name}")
            try:
                found += [Finding(name, state, words, mend) for state, words, mend in await check(patient, cluster)]
            except EngineError as error:
                found.append(Finding(name, "unknown", str(error), "examine with an administrator's credential"))
    return found
