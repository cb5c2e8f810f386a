"""`commonpool embedded hosts`: two machines of the sample join for real, on test hosts of this machine."""

import time
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.embedded.hosts.trial import Trial

PAUSE_SECONDS = 0.5


def hosts(target: Target, output: Output, *, wait: bool, stop: bool) -> int:
    """Start them in the background and say so, or wait until they have joined; 1 when they have not."""
    from commonpool.embedded import EmbeddedPool
    from commonpool.embedded.hosts import why_not
    from commonpool.embedded.hosts.trial import NETWORK, Trial, played

    pool = EmbeddedPool(target.pool)
    trial = Trial(pool.layout)
    if stop:
        output.say(f"test hosts {'stopped; their disks stay' if trial.stop() else 'do not run'}")
        return 0
    estate = target.load()
    names = " and ".join(machine.name for machine in played(estate))
    if not names:
        raise CommandFailed(
            "no machine of this estate is played by a test host",
            code="usage",
            next_step=f"set commonpool_trial: true for two machines, with addresses in {NETWORK}",
        )
    reason = why_not()
    if reason is not None:
        output.phase(f"machines  all are simulated, {names} are absent: {reason}")
        return 1 if wait else 0
    target.credentials()  # the pool runs
    state = trial.state()
    if state.word in ("absent", "failed") or not trial.keeper():
        trial.start(target.pool, estate)
    if not wait:
        return _tell(trial, target, output, names, state.word)
    with output.working(f"{names}: starting"):
        while (state := trial.state()).word == "working":
            output.progress(state.words)
            time.sleep(PAUSE_SECONDS)
    if state.word != "joined":
        raise CommandFailed(f"{names} did not join: {state.words}", code="host_failed", next_step=f"see {trial.log}")
    output.phase(f"machines  {state.words}; they are real: systemd, sshd and kubelet of their own")
    return 0


def _tell(trial: "Trial", target: Target, output: Output, names: str, before: str) -> int:
    if before == "joined":
        output.phase(f"machines  {names} are real, on test hosts of this machine; all others are simulated")
        return 0
    again = " again" if before == "failed" else ""
    output.phase(f"machines  {names} are being made and brought in{again} over SSH, for real, in the background")
    output.phase(
        f"          {target.command('embedded hosts')} waits for them; what they need is built once, in minutes"
    )
    return 0
