"""The departments, or those of them that this stack's configuration names or selects by label."""

import pulumi
from commonpool.components import department
from commonpool.components.resource import Group
from commonpool.components.stack import departments, estate, unchanged

for one in departments:
    if one.name not in unchanged:
        Group("Department", one.name, department.objects(estate, one), protected=one.spec.protected)

pulumi.export("namespaces", {one.name: [full_name for full_name, _ in one.namespaces()] for one in departments})
