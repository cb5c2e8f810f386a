"""Questions to a person at a terminal, each answer checked at once; where nobody sits, missing answers are named."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError

from commonpool.cli.consent import answered
from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output
from commonpool.ledger import Amount, Ledger
from commonpool.model import Estate, Quantity, QuantityError
from commonpool.model import department as model
from commonpool.model.base import BusinessClass, Contact, Environment, Name, Text
from commonpool.model.organisation_code import is_valid
from commonpool.model.pool import Organisation
from commonpool.model.today import today

if TYPE_CHECKING:
    from pydantic import BaseModel

Answers = Mapping[str, str]
Check = Callable[[Estate, str, Answers], str]
_QUOTED = ("display_name", "filing", "email", "deputy_email", "steward_email")


@dataclass(frozen=True)
class Question:
    """What is asked: `check` says what is wrong with an answer, `choices` are the only ones with what they mean."""

    word: str
    option: str
    prompt: str
    check: Check = lambda estate, answer, before: ""
    default: str = ""
    choices: Callable[[Estate, Answers], dict[str, str]] | None = None


def _typed(annotation: Any) -> Check:  # noqa: ANN401
    def check(estate: Estate, answer: str, before: Answers) -> str:
        try:
            TypeAdapter(annotation).validate_python(answer)
        except ValidationError as error:
            return str(error.errors()[0].get("ctx", {}).get("message") or error.errors()[0]["msg"])
        return ""

    return check


def _field(owner: "type[BaseModel]", name: str, example: str) -> Check:
    info = owner.model_fields[name]
    check = _typed(Annotated[(info.annotation, example, *info.metadata)])
    return lambda estate, answer, before: check(estate, answer, before) and f"write it as {example}"


_ORGANISATION_CODE = _field(Organisation, "code", "11330000MB0000001L")


def _code(estate: Estate, answer: str, before: Answers) -> str:
    if _ORGANISATION_CODE(estate, answer, before):
        return "18 digits and capital letters, without I, O, S, V and Z"
    if not is_valid(answer):
        return "the last character does not fit the others; copy the code from the register again"
    return _taken(estate, answer, lambda one: one.spec.organisation.code)


def _filing(estate: Estate, answer: str, before: Answers) -> str:
    return _typed(Text)(estate, answer, before) or _taken(estate, answer, lambda one: one.spec.filing.number)


def _taken(estate: Estate, answer: str, value_of: Callable[[model.Department], str]) -> str:
    owner = next((one.name for one in estate.departments if value_of(one) == answer), "")
    return f"that is {owner}'s" if owner else ""


def _amount(word: str) -> Check:
    def check(estate: Estate, answer: str, before: Answers) -> str:
        try:
            wanted = Quantity.parse(answer)
        except QuantityError as error:
            return str(error)
        left = getattr(_room(estate)[before["flavor"]], word)
        if wanted <= left:
            return "" if wanted else "an amount of zero means nothing"
        return f"only {left.human('B' if word == 'memory' else '')} of {before['flavor']} are left; ask for the rest as burst"

    return check


def _room(estate: Estate) -> dict[str, Amount]:
    return {row.name: row.room.clipped() for row in Ledger.of(estate).flavors if row.room is not None}


def _flavors(estate: Estate, before: Answers) -> dict[str, str]:
    room = _room(estate)
    return {
        flavor.name: f"up to level {flavor.trust}, {room[flavor.name]} left"
        for flavor in estate.pool.spec.compute.flavors
        if flavor.trust >= int(before["protection_level"])
    }


def _words(literal: Any) -> Callable[[Estate, Answers], dict[str, str]]:  # noqa: ANN401
    return lambda estate, before: dict.fromkeys(get_args(literal), "")


QUESTIONS = (
    Question("display_name", "--display-name", "Name for people", _typed(Text)),
    Question("code", "--organisation-code", "Unified social credit code, 18 characters", _code),
    Question("filing", "--filing-number", "Filing number (备案号)", _filing),
    Question("budget", "--budget-item", "Budget item, digits", _field(model.Filing, "budget_item", "2130306")),
    Question("email", "--email", "Mailbox of the owner's office", _field(Contact, "email", "office@harbour.example")),
    Question("phone", "--phone", "Telephone of the duty desk", _field(Contact, "phone", "+86 555 0100 100")),
    Question("namespace", "--namespace", "Its first namespace", _typed(Name), "main"),
    Question("environment", "--environment", "What it is used for", default="production", choices=_words(Environment)),
    Question("business_class", "--business-class", "Business class (业务分类)", choices=_words(BusinessClass)),
    Question(
        "protection_level",
        "--protection-level",
        "Protection level (等级保护)",
        default="2",
        choices=lambda estate, before: dict.fromkeys("12345", ""),
    ),
    Question("flavor", "--flavor", "Hardware class", choices=_flavors),
    Question("cpu", "--cpu", "Guaranteed cores", _amount("cpu"), "4"),
    Question("memory", "--memory", "Guaranteed memory", _amount("memory"), "16Gi"),
)


def answers(estate: Estate, given: Mapping[str, str | None], output: Output) -> dict[str, str]:
    """The answers to all questions, ready to stand in a manifest. Raises `CommandFailed` for missing or wrong ones."""
    found = {word: value for word, value in given.items() if value is not None}
    if not output.interactive:
        _nobody_to_ask(found)
    for question in QUESTIONS:
        if question.word not in found and not output.interactive:
            found[question.word] = question.default or next(iter(_choices(question, estate, found)), "")
        if question.word not in found:
            found[question.word] = _ask(question, estate, found, output)
        elif wrong := wrong_with(question, estate, found[question.word], found):
            raise CommandFailed(f"{question.option} {found[question.word]!r}: {wrong}", code="usage")
    year = today().year
    found = {
        "level": estate.pool.spec.level,
        "start": today().isoformat(),
        "review": f"{year + 1}-06-30",
        "end": f"{year + 2}-12-31",
        "deputy_email": found["email"],
        "steward_email": found["email"],
        **found,
    }
    return {word: json.dumps(value, ensure_ascii=False) if word in _QUOTED else value for word, value in found.items()}


def _nobody_to_ask(found: Answers) -> None:
    needed = [question for question in QUESTIONS if not question.default and question.word != "flavor"]
    missing = [question.option for question in needed if question.word not in found]
    if missing:
        raise CommandFailed(
            f"some answers are missing and nobody can be asked: {', '.join(missing)}",
            code="usage",
            next_step="give them as options, or run it at a terminal",
        )


def _choices(question: Question, estate: Estate, before: Answers) -> dict[str, str]:
    return question.choices(estate, before) if question.choices else {}


def wrong_with(question: Question, estate: Estate, answer: str, before: Answers) -> str:
    """What is wrong with an answer, given those before it; empty when nothing is. Pure."""
    if question.choices is None:
        return question.check(estate, answer, before)
    known = list(question.choices(estate, before))
    return "" if answer in known else f"there is no {answer!r}; {nearest(answer, known)}"


def _ask(question: Question, estate: Estate, before: Answers, output: Output) -> str:
    known = _choices(question, estate, before)
    numbered = known and set(known) != set("12345")
    for number, (choice, meaning) in enumerate(known.items(), 1) if numbered else ():
        output.say(f"  {number}  {choice:<24} {meaning}".rstrip())
    default = f" [{question.default}]" if question.default else ""
    limits = " 1 to 5" if known and not numbered else ""
    while True:
        answer = answered(f"{question.prompt}{limits}{default}: ", output) or question.default
        if answer.isdigit() and answer not in known and 0 < int(answer) <= len(known):
            answer = list(known)[int(answer) - 1]
        wrong = wrong_with(question, estate, answer, before)
        if not wrong:
            return answer
        output.say(f"  ! {wrong}")
