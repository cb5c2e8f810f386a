"""The departments, or those of them that this stack's configuration names or selects by label."""

import pulumi
from commonpool.components import department
from commonpool.components.resource import Group, paced
from commonpool.components.stack import departments_of, read_estate, unchanged

estate, known = read_estate(), unchanged()
departments = departments_of(estate)


async def main() -> dict[str, object]:
    """Register what changed; export every namespace."""
    changed = (one for one in departments if one.name not in known)
    await paced(
        Group("Department", one.name, department.objects(estate, one), protected=one.spec.protected) for one in changed
    )
    return {"namespaces": {one.name: [full_name for full_name, _ in one.namespaces()] for one in departments}}


pulumi.run(main)
