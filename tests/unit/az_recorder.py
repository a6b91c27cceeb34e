"""A stand-in for the Azure CLI that records its calls and remembers the resources.

Run as `az` (a two-line shim on PATH); AZ_RECORDER names its folder:

- `calls.jsonl`: one object a call, {"words": [...], "stdin": text or null, "files": [...] or null},
  `files` being the content of the archive that `az webapp deploy` sends (a copy: `code.zip`);
- `cloud.json`: what exists, {kind: {name: {...}}}: what a second run finds.

It is as strict as the cloud where that matters to a script that is run twice: making a group, plan,
app, server or database that exists is refused (exit 1), and so is touching one that does not.
`webapp deploy` fails where the app would refuse to start, for want of AUTH.
`fail` in the folder, when present, holds the leading words of calls to refuse; with a second line,
a sentence, the first such call only.
"""

import json
import os
import shutil
import sys
import zipfile
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
    "resource list": "/subscriptions/s/workspaces/trips",
    "ad sp show": "99999999-8888-7777-6666-555555555555",
}
WORKSPACE = {
    "identity.principalId": "workspace-principal-id",
    "properties.connectivityEndpoints.sqlOnDemand": "trips-ondemand.sql.azuresynapse.net",
}


def split(words: list[str]) -> tuple[str, dict[str, str | bool | list[str]]]:
    """`az a b --x 1 --y --z=2 --settings A=1 B=2` as ("a b", {"x": "1", "y": True, "z": "2",
    "settings": ["A=1", "B=2"]})."""
    command: list[str] = []
    options: dict[str, str | bool | list[str]] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            options[name] = value if equals else True
        elif not name:
            command.append(word)
        elif name == "settings":
            options[name] = [*(options[name] if options[name] is not True else []), word]
        else:
            options[name] = word
    return " ".join(command), options


def refuse(sentence: str) -> None:
    print(f"ERROR: {sentence}", file=sys.stderr)
    sys.exit(1)


def answer(  # noqa: PLR0912 - a branch for each command
    command: str, options: dict, cloud: dict, stdin: str | None
) -> str | None:
    """The standard output of a call, after it has changed `cloud`."""
    name = options.get("name", "")
    if command == "login":
        return None
    if command in ANSWERS:
        return ANSWERS[command]
    if command == "resource show":
        return WORKSPACE[options["query"]]
    if command == "cloud show":
        return cloud.get("suffix", ".database.windows.net")
    if command == "storage container-rm exists":
        return "true" if name in cloud.get("container", {}) else "false"
    if command == "ad signed-in-user show":
        return {"id": "admin-object-id", "userPrincipalName": "O'Hara $1@example.org"}[
            options["query"]
        ]
    if command == "group exists":
        return "true" if name in cloud.get("group", {}) else "false"
    if command == "group create":
        if name in cloud.get("group", {}):
            refuse("the group exists")  # creating it again would overwrite its tags
        cloud.setdefault("group", {})[name] = {"tags": options["tags"]}
    elif command == "group show":
        return cloud["group"][name]["tags"].partition("=")[2]
    elif command == "group delete":
        # What belongs to other groups outlives this one.
        kept = {kind: cloud[kind] for kind in ("roles", "container") if kind in cloud}
        cloud.clear()
        cloud.update(kept)
    elif command in LISTED:
        if options["resource-group"] not in cloud.get("group", {}):
            refuse("no such group")
        things = cloud.get(LISTED[command], {})
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
    elif command == "storage container-rm create":
        if name in cloud.setdefault("container", {}):
            refuse("the container exists")
        cloud["container"][name] = {"account": options["storage-account"]}
    elif command == "role assignment create":
        entry = [options["assignee-object-id"], options["role"], options["scope"]]
        if entry not in cloud.setdefault("roles", []):
            cloud["roles"].append(entry)
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
    elif command == "webapp config appsettings list":
        settings = app.get("appsettings", {})
        if "AUTH" in options["query"]:
            return settings.get("AUTH")
        return "\n".join(key for key, value in settings.items() if value)
    elif command in ("webapp config connection-string set", "webapp config appsettings set"):
        for text in [stdin] if options["settings"] == ["@-"] else options["settings"]:
            key, _, value = text.partition("=")
            app.setdefault(command.split()[2], {})[key] = value
    elif command in ("webapp config set", "webapp update", "webapp log config"):
        app.setdefault("config", {}).update(options)
    elif command == "webapp deploy":
        app["code"] = {key: options[key] for key in ("type", "track-status")}
        if not app["appsettings"].get("AUTH"):
            refuse("the site failed to start within 10 mins")
    else:
        refuse(f"'{command}' is not known here")
    return None


def main() -> None:
    folder = Path(os.environ["AZ_RECORDER"])
    words = sys.argv[1:]
    command, options = split(words)
    stdin = sys.stdin.read() if "@-" in words else None
    files = None
    if command == "webapp deploy":
        shutil.copy(options["src-path"], folder / "code.zip")
        with zipfile.ZipFile(options["src-path"]) as archive:
            files = sorted(archive.namelist())
    with (folder / "calls.jsonl").open("a") as log:
        log.write(json.dumps({"words": words, "stdin": stdin, "files": files}) + "\n")
    refused = folder / "fail"
    if refused.exists():
        beginning, _, sentence = refused.read_text().strip().partition("\n")
        if command.startswith(beginning):
            if sentence:  # refused once only
                refused.unlink()
            refuse(sentence or "refused as the test wishes")
    state = folder / "cloud.json"
    cloud = json.loads(state.read_text()) if state.exists() else {}
    said = answer(command, options, cloud, stdin)
    state.write_text(json.dumps(cloud, indent=1, sort_keys=True))
    if said and options.get("output") != "none":
        print(said)


if __name__ == "__main__":
    main()
