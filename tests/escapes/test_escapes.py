"""Nobody gets in where they do not belong: every attempt of the catalogue by everybody, refused, without effect, and on record."""

import pytest
from escapes.attempts import CATALOGUE
from escapes.ground import Ground, attack, differences, send

PEOPLE = ("admin", "developer", "account", "nobody")


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("group", CATALOGUE)
def test_no_attempt_succeeds_changes_anything_or_goes_unrecorded(ground: Ground, group: str, person: str) -> None:
    """T1 to T9, T12 to T14, T17 to T24, T28 to T33, T35, each as department admin, developer, service account and nobody."""
    attempts = ground.attempts(group)
    before = ground.state()
    outcome = attack(ground.people[person], attempts)
    assert outcome.survived == []
    assert list(differences(before, ground.state())) == []
    assert ground.audited(outcome.audits) == set()


@pytest.mark.parametrize("group", CATALOGUE)
def test_what_policies_guard_is_guarded_whatever_roles_somebody_was_given(ground: Ground, group: str) -> None:
    """A person who was made cluster-admin by mistake still changes nothing that the platform holds in its namespaces."""
    attempts = [attempt for attempt in ground.attempts(group) if not attempt.by_roles]
    before = ground.state()
    assert attack(ground.people["mistake"], attempts).survived == []
    assert list(differences(before, ground.state())) == []


@pytest.mark.parametrize("group", CATALOGUE)
def test_every_attempt_is_one_that_the_api_server_would_carry_out_for_the_platform(ground: Ground, group: str) -> None:
    """An attempt that is refused for its spelling proves nothing: the administrator's dry run of it passes."""
    spoiled = []
    for attempt in ground.attempts(group):
        no_dry_run = (
            attempt.method == "GET" or attempt.headers or (attempt.by_roles and "/pods/standing/" in attempt.path)
        )
        if attempt.nobody or no_dry_run:
            continue
        answer = send(ground.administrator, attempt, "dryRun=All")
        if answer.status >= 300:
            spoiled.append(f"{attempt}: {answer.status} {answer.words[:300]}")
    assert spoiled == []
