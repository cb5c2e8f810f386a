#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Files and the services that read them, in one round trip to the machine; runs there, with the Python that is there."""

DOCUMENTATION = r"""
---
module: services
short_description: Writes settings and has services run that have read them
description:
  - Writes files whose content or mode differs, then starts each service that does not run and restarts each one that has
    not read what stands there now, and has all of them started at boot.
  - What a service has read is the SHA-256 of its files, which its unit leaves in C(/run/commonpool/NAME.read) when it starts.
    So a run that was cut short between writing and restarting is made good by the next one, whatever the clock says.
author: Commonpool (@commonpool)
attributes:
  check_mode: {description: Says what would change., support: full}
  diff_mode: {description: Shows each file before and after., support: full}
options:
  files:
    description: Files, with the folders they lie in.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where., type: path, required: true}
      content: {description: The whole content., type: str, required: true}
      mode: {description: Permissions in octal., type: str, default: "0644"}
  ports:
    description: TCP ports at which something must listen before anything is written.
    type: list
    elements: int
  services:
    description: Units without C(commonpool-) and C(.service), in the order in which they start.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      reads: {description: Files that it reads beside its unit, in the order in which the unit hashes them., type: list, elements: path, default: []}
      restart: {description: Whether it is restarted in any case., type: bool, default: false}
      answers: {description: URL at which it says that it is well; it is waited for. A service that ends over and over has started too., type: str}
"""

EXAMPLES = r"""
- name: Start kubelet
  commonpool.pool.services:
    files:
      - {path: /etc/commonpool/kubelet.yaml, content: "{{ lookup('ansible.builtin.template', 'kubelet.yaml.j2') }}"}
    services:
      - {name: kubelet, reads: [/etc/commonpool/kubelet.yaml]}
"""

RETURN = r"""
restarted: {description: Services that were started or restarted., type: list, elements: str, returned: always}
"""

import hashlib  # noqa: E402
import http.client  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

ANSWER_SECONDS = 60
UNIT = "/etc/systemd/system/commonpool-{}.service"
READ = "/run/commonpool/{}.read"


def read(path):
    """What stands there; empty when nothing does."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def differs(wanted):
    """Whether a file is not as it should be."""
    try:
        mode = os.stat(wanted["path"]).st_mode & 0o7777
    except FileNotFoundError:
        return True
    return mode != int(wanted["mode"], 8) or read(wanted["path"]) != wanted["content"].encode()


def write(wanted):
    """Whole or not at all, also when the machine dies."""
    path = wanted["path"]
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    scratch = path + ".new"
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(wanted["content"].encode())
            file.flush()
            os.fchmod(file.fileno(), int(wanted["mode"], 8))
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        if os.path.exists(scratch):
            os.unlink(scratch)
        raise


def unread(service):
    """Whether a service started from something else than what stands there now."""
    content = b"".join(read(path) for path in [*service["reads"], UNIT.format(service["name"])])
    return read(READ.format(service["name"])).split()[:1] != [hashlib.sha256(content).hexdigest().encode()]


def silent(module, ports):
    """Those of the ports at which nothing listens."""
    code, output, complaint = module.run_command(["ss", "-H", "-l", "-t", "-n"])
    if code:
        module.fail_json(msg="ss: " + (complaint or "failed").strip())
    open_ports = {line.split()[3].rpartition(":")[2] for line in output.splitlines() if len(line.split()) > 3}
    return [str(port) for port in ports if str(port) not in open_ports]


def answers(url):
    """Whether somebody there is well, asked past any proxy."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


class Services:
    """The units, through systemctl."""

    def __init__(self, module):
        """Nothing is asked yet."""
        self.module = module

    def systemctl(self, *words, check=True):
        """What it prints. Fails the module with its complaint."""
        code, output, complaint = self.module.run_command(["systemctl", *words])
        if check and code:
            self.module.fail_json(msg=" ".join((complaint or output).split()) or "systemctl failed", cmd=words)
        return output

    def enabled(self, name):
        """Whether it starts at boot."""
        return self.systemctl("is-enabled", f"commonpool-{name}", check=False).strip() == "enabled"

    def runs(self, name):
        """Whether it runs, or is on its way there."""
        return self.systemctl("is-active", f"commonpool-{name}", check=False).strip() in ("active", "activating")

    def await_answer(self, name, url):
        """Fails the module with the unit's last words when none comes."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not answers(url):
            if time.monotonic() > deadline:
                words = self.module.run_command(["journalctl", "-u", f"commonpool-{name}", "-o", "cat", "-n", "3"])[1]
                self.module.fail_json(msg=f"commonpool-{name} does not answer at {url}: " + " ".join(words.split()))
            time.sleep(0.2)


def main():
    """Write, then start or restart."""
    file = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "mode": {"default": "0644"},
    }
    service = {
        "name": {"required": True},
        "reads": {"type": "list", "elements": "path", "default": []},
        "restart": {"type": "bool", "default": False},
        "answers": {},
    }
    listed = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        {
            "files": {**listed, "options": file},
            "services": {**listed, "options": service},
            "ports": {"type": "list", "elements": "int"},
        },
        supports_check_mode=True,
    )
    closed = [] if module.params["ports"] is None else silent(module, module.params["ports"])
    if closed:
        module.fail_json(msg="nothing listens on port " + ", ".join(closed) + ", where services of the pool expect it")
    changed = [one for one in module.params["files"] if differs(one)]
    diffs = [
        {
            "before": read(one["path"]).decode(errors="replace"),
            "after": one["content"],
            "before_header": one["path"],
            "after_header": one["path"],
        }
        for one in changed
    ]
    if not module.check_mode:
        try:
            for one in changed:
                write(one)
        except OSError as error:
            module.fail_json(msg=f"{error.filename}: {error.strerror}")
    units, wanted = Services(module), module.params["services"]
    dark = [one["name"] for one in wanted if not units.enabled(one["name"])]
    due = [one["name"] for one in wanted if one["restart"] or unread(one) or not units.runs(one["name"])]
    if (dark or due) and not module.check_mode:
        units.systemctl("daemon-reload")
        for name in dark:
            units.systemctl("enable", "--quiet", f"commonpool-{name}")
        for name in due:
            units.systemctl("restart", f"commonpool-{name}")
    for one in wanted if not module.check_mode else ():
        if one["answers"]:
            units.await_answer(one["name"], one["answers"])
    module.exit_json(changed=bool(changed or dark or due), diff=diffs, restarted=due)


if __name__ == "__main__":
    main()
