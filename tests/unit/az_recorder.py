"""A stand-in for the Azure CLI that writes down how it was called and keeps what it was told.

Run as `az` (a two-line shim on PATH); AZ_RECORDER names its folder:

- `calls.jsonl`: one object a call, {"words": [...], "stdin": text or null, "files": [...] or null},
  `files` being the folder's content at `az webapp up`;
- `cloud.json`: what exists, {kind: {name: {...}}}: what a second run finds.

It is as strict as the cloud where that matters to a script that is run twice: making a group, plan,
app, server or database that exists is refused (exit 1), and so is touching one that does not.
`fail` in the folder, when present, holds the leading words of calls to refuse.
"""

import json
import os
import sys
from pathlib import Path

LISTED = {
    "appservice plan list": "plan",
    "webapp list": "app",
    "sql server list": "server",
    "sql db list": "database",
}
MADE = {
    "appservice plan create": "plan",
    "webapp create": "app",
    "sql server create": "server",
    "sql db create": "database",
}
ANSWERS = {
    "account show": "11111111-2222-3333-4444-555555555555",
    "account get-access-token": "the-token-of-the-caller",
    "storage account show": "/subscriptions/s/storageAccounts/trips",
    "resource list": "workspace-principal-id",
}


def split(words: list[str]) -> tuple[str, dict[str, str | bool]]:
    """`az a b --x 1 --y` as ("a b", {"x": "1", "y": True})."""
    command: list[str] = []
    options: dict[str, str | bool] = {}
    at = 0
    while at < len(words):
        if not words[at].startswith("--"):
            command.append(words[at])
        elif at + 1 < len(words) and not words[at + 1].startswith("--"):
            options[words[at][2:]] = words[at + 1]
            at += 1
        else:
            options[words[at][2:]] = True
        at += 1
    return " ".join(command), options


def refuse(sentence: str) -> None:
    print(f"ERROR: {sentence}", file=sys.stderr)
    sys.exit(1)


def answer(  # noqa: PLR0912 - a branch for each command
    command: str, options: dict, cloud: dict, stdin: str | None
) -> str | None:
    """What the cloud says (standard output), after `cloud` has taken the change."""
    name = options.get("name", "")
    if command in ANSWERS:
        return ANSWERS[command]
    if command == "ad signed-in-user show":
        return {"id": "admin-object-id", "userPrincipalName": "O'Hara $1@example.org"}[
            options["query"]
        ]
    if command == "group exists":
        return "true" if name in cloud.get("group", {}) else "false"
    if command == "group create":
        if name in cloud.get("group", {}):
            refuse("the group exists")  # creating it anew would overwrite its tags
        cloud.setdefault("group", {})[name] = {"tags": options["tags"]}
    elif command == "group show":
        return cloud["group"][name]["tags"].partition("=")[2]
    elif command == "group delete":
        roles = cloud.get("roles")  # of other resources' scopes: they outlive the group
        cloud.clear()
        if roles:
            cloud["roles"] = roles
    elif command in LISTED:
        things = cloud.get(LISTED[command], {})
        if "identity" in options["query"]:
            return "\n".join(thing.get("principal", "") for thing in things.values())
        quoted = options["query"].removeprefix("[?name=='").removesuffix("'].name")
        wanted = quoted.replace("\\'", "'")
        return wanted if wanted in things else ""
    elif command in MADE:
        if name in cloud.get(MADE[command], {}):
            refuse(f"{MADE[command]} {name} exists")
        if options["resource-group"] not in cloud.get("group", {}):
            refuse("no such group")
        cloud.setdefault(MADE[command], {})[name] = dict(options)
    elif command == "sql server firewall-rule create":
        cloud["server"][options["server"]].setdefault("rules", {})[name] = options[
            "start-ip-address"
        ]
    elif command == "role assignment create":
        entry = [options["assignee-object-id"], options["role"], options["scope"]]
        if entry not in cloud.setdefault("roles", []):
            cloud["roles"].append(entry)
    elif command == "role assignment delete":
        cloud["roles"] = [role for role in cloud["roles"] if role[0] != options["assignee"]]
    else:
        if name not in cloud.get("app", {}):
            refuse(f"no web app {name}")
        return answer_about_app(command, options, cloud["app"], stdin)
    return None


def answer_about_app(command: str, options: dict, apps: dict, stdin: str | None) -> str | None:
    name = options["name"]
    app = apps[name]
    if command == "webapp identity assign":
        app["principal"] = "principal-id"
        return "principal-id"
    if command == "webapp show":
        return f"{name}.azurewebsites.net"
    if command == "webapp delete":
        del apps[name]
    elif command in ("webapp config connection-string set", "webapp config appsettings set"):
        text = stdin if options["settings"] == "@-" else options["settings"]
        key, _, value = text.partition("=")
        app.setdefault(command.split()[2], {})[key] = value
    elif command in ("webapp config set", "webapp update"):
        app.setdefault("config", {}).update(options)
    elif command == "webapp up":
        app["code"] = {key: options[key] for key in ("runtime", "plan", "os-type")}
    else:
        refuse(f"'{command}' is not known here")
    return None


def main() -> None:
    folder = Path(os.environ["AZ_RECORDER"])
    words = sys.argv[1:]
    command, options = split(words)
    stdin = sys.stdin.read() if "@-" in words else None
    files = None
    if command == "webapp up":
        files = sorted(str(path.relative_to(".")) for path in Path(".").rglob("*"))
    with (folder / "calls.jsonl").open("a") as log:
        log.write(json.dumps({"words": words, "stdin": stdin, "files": files}) + "\n")
    refused = folder / "fail"
    if refused.exists() and command.startswith(refused.read_text().strip()):
        refuse("refused as the test wishes")
    state = folder / "cloud.json"
    cloud = json.loads(state.read_text()) if state.exists() else {}
    said = answer(command, options, cloud, stdin)
    state.write_text(json.dumps(cloud, indent=1, sort_keys=True))
    if said and options.get("output") != "none":
        print(said)


if __name__ == "__main__":
    main()
