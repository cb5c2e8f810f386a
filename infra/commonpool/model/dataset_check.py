"""What must hold of datasets and of the data dictionary in their estate. Pure but for positions."""

from commonpool.model.dataset import Dataset
from commonpool.model.dictionary import Dictionary
from commonpool.model.estate import Estate
from commonpool.model.problem import shown
from commonpool.model.sharing_check import check_sharing
from commonpool.model.subject import Found, Subject, nearest


def check_catalogue(estate: Estate) -> Found:
    """Every problem of the dictionary and of all datasets."""
    if estate.dictionary is not None:
        yield from _dictionary(estate, estate.dictionary)
    codes: dict[str, str] = {}
    for dataset in estate.datasets:
        subject = Subject(estate, f"dataset/{dataset.name}")
        yield from _references(subject, dataset)
        yield from _items(subject, dataset)
        yield from check_sharing(subject, ("spec", "sharing"), dataset.spec.sharing)
        if dataset.spec.code in codes:
            yield subject.problem(
                ("spec", "code"),
                f"code {shown(dataset.spec.code)} is that of {codes[dataset.spec.code]} too",
                "value-duplicate",
                "correct the wrong one of the two",
            )
        codes[dataset.spec.code] = dataset.name


def _references(subject: Subject, dataset: Dataset) -> Found:
    estate, spec = subject.estate, dataset.spec
    listed = enumerate(spec.return_flow.departments if spec.return_flow else ())
    places = [
        (("spec", "provider"), spec.provider),
        *((("spec", "returnFlow", "departments", index), name) for index, name in listed),
    ]
    for where, name in places:
        if estate.department(name) is None:
            known = [department.name for department in estate.departments]
            yield subject.problem(where, f"there is no department {name!r}", "department-unknown", nearest(name, known))
    if spec.service is None:
        return
    service = estate.service(spec.service)
    if service is None:
        known = [one.name for one in estate.services]
        yield subject.problem(
            ("spec", "service"),
            f"there is no shared service {spec.service!r}",
            "service-unknown",
            nearest(spec.service, known),
        )
        return
    if service.spec.offered_by != spec.provider:
        yield subject.problem(
            ("spec", "service"),
            f"service {service.name!r} is offered by {service.spec.offered_by}, not by the provider {spec.provider}",
            "dataset-service",
            "name a service of the provider, or take service out",
        )
    if service.spec.sharing and service.spec.sharing.class_ != spec.sharing.class_:
        yield subject.problem(
            ("spec", "sharing"),
            f"the dataset is {spec.sharing.class_} and its service {service.name!r} is {service.spec.sharing.class_}",
            "sharing-differs",
            "write the same class in both",
        )


def _items(subject: Subject, dataset: Dataset) -> Found:
    dictionary = subject.estate.dictionary
    elements = dictionary.elements if dictionary else {}
    seen: set[str] = set()
    for index, item in enumerate(dataset.spec.items):
        where = ("spec", "items", index)
        if item.name in seen:
            yield subject.problem(
                (*where, "name"),
                f"item {shown(item.name)} is declared twice",
                "name-duplicate",
                "take one of the two out",
            )
        seen.add(item.name)
        if item.element is None:
            continue
        element = elements.get(item.element)
        if element is None:
            yield subject.problem(
                (*where, "element"),
                f"the dictionary has no element {shown(item.element)}",
                "element-unknown",
                nearest(item.element, elements) if elements else "declare it in dictionary.yaml",
            )
        elif element.type != item.type:
            yield subject.problem(
                (*where, "type"),
                f"element {element.code} ({element.title}) is of type {element.type}, the item of type {item.type}",
                "element-type",
                f"write {element.type}",
            )


def _dictionary(estate: Estate, dictionary: Dictionary) -> Found:
    subject = Subject(estate, "dictionary")
    lists = [one.name for one in dictionary.spec.code_lists]
    departments = [one.name for one in estate.departments]
    seen: set[str] = set()
    for index, element in enumerate(dictionary.spec.elements):
        where = ("spec", "elements", index)
        if element.code in seen:
            yield subject.problem(
                (*where, "code"), f"element {element.code} is declared twice", "name-duplicate", "choose another code"
            )
        seen.add(element.code)
        if element.code_list and element.code_list not in lists:
            yield subject.problem(
                (*where, "codeList"),
                f"there is no code list {element.code_list!r}",
                "code-list-unknown",
                nearest(element.code_list, lists),
            )
        if element.lead and element.lead not in departments:
            yield subject.problem(
                (*where, "lead"),
                f"there is no department {element.lead!r}",
                "department-unknown",
                nearest(element.lead, departments),
            )
